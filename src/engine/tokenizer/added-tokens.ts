/**
 * Tokens that are found in a text as they are written (`<|im_end|>`), before any rule of the vocabulary:
 * leftmost first, the longest of those that start at one place.
 */
import { type AlignedText, sliceAligned } from './aligned-text.ts'

export interface AddedToken {
  readonly id: number
  readonly content: string
  /** Control tokens; left out of a reply's text. */
  readonly special: boolean
  /** Only where no letter, digit or underscore touches it. */
  readonly singleWord: boolean
  /** Blanks before it belong to it. */
  readonly lstrip: boolean
  /** Blanks behind it belong to it. */
  readonly rstrip: boolean
  /** Looked for in the normalised text. */
  readonly normalized: boolean
}

interface Node {
  readonly next: Map<number, Node>
  token: AddedToken | undefined
}

export interface FoundToken {
  readonly token: AddedToken
  readonly start: number
  readonly end: number
}

const word = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\u200c\u200d]/u
const blanksBefore = /\p{White_Space}+$/u
const blanksBehind = /\p{White_Space}*/uy

export class AddedTokens {
  readonly #root: Node = { next: new Map(), token: undefined }

  /** @param tokens by the text that each is found as */
  constructor(tokens: Iterable<readonly [string, AddedToken]>) {
    for (const [text, token] of tokens) {
      let node = this.#root
      for (let i = 0; i < text.length; i++) {
        const unit = text.charCodeAt(i)
        let next = node.next.get(unit)
        if (next === undefined) {
          next = { next: new Map(), token: undefined }
          node.next.set(unit, next)
        }
        node = next
      }
      if (text !== '') node.token = token
    }
  }

  /** The tokens and what lies between them, in order; nothing of it is empty. */
  split(source: AlignedText): (FoundToken | AlignedText)[] {
    if (this.#root.next.size === 0) return source.text === '' ? [] : [source]
    const out: (FoundToken | AlignedText)[] = []
    let at = 0
    for (const found of this.#find(source.text)) {
      if (found.start > at) out.push(sliceAligned(source, at, found.start))
      out.push({
        token: found.token,
        start: source.starts[found.start] ?? 0,
        end: source.ends[found.end - 1] ?? 0,
      })
      at = found.end
    }
    if (at < source.text.length) out.push(sliceAligned(source, at, source.text.length))
    return out
  }

  *#find(text: string): Generator<FoundToken> {
    let taken = 0
    for (let at = 0; at < text.length; ) {
      const token = this.#longestAt(text, at)
      if (token === undefined) {
        at++
        continue
      }
      const [found, behind] = token
      let [start, end] = [at, behind]
      at = behind
      if (found.singleWord && (word.test(text.charAt(start - 1)) || word.test(text.charAt(end)))) continue
      if (found.lstrip)
        start = Math.max(taken, start - (blanksBefore.exec(text.slice(taken, start))?.[0].length ?? 0))
      if (found.rstrip) {
        blanksBehind.lastIndex = end
        end += blanksBehind.exec(text)?.[0].length ?? 0
      }
      if (start < taken) continue
      taken = end
      at = Math.max(at, end)
      yield { token: found, start, end }
    }
  }

  #longestAt(text: string, start: number): [AddedToken, number] | undefined {
    let node: Node | undefined = this.#root
    let best: [AddedToken, number] | undefined
    for (let at = start; node !== undefined && at < text.length; ) {
      node = node.next.get(text.charCodeAt(at++))
      if (node?.token !== undefined) best = [node.token, at]
    }
    return best
  }
}
