/** Text to token ids and back. */
import { ShadowError } from '../../lib/error.ts'
import { type AddedToken, AddedTokens } from './added-tokens.ts'
import { alignedText } from './aligned-text.ts'
import type { TextStep } from './normalizers.ts'
import type { SplitStep } from './pre-tokenizers.ts'
import { dropped, type TokenModel } from './token-model.ts'
import type { TokenText } from './token-text.ts'

/** What a tokenizer is made of; gguf-tokenizer.ts and tokenizer-file.ts make it from files. */
export interface TokenizerParts {
  /** Undefined where the vocabulary sees the text as it is. */
  readonly normalize: TextStep | undefined
  readonly split: SplitStep | undefined
  readonly model: TokenModel
  readonly added: readonly AddedToken[]
  readonly text: TokenText
  /** By the names that chat templates know: `bos_token`, `eos_token`, `pad_token`, … */
  readonly named: ReadonlyMap<string, string>
  /** Further tokens that end a turn, beside `eos_token`. */
  readonly ends?: readonly number[]
}

export interface EncodedText {
  readonly ids: Int32Array
  /** For each token the first UTF-16 unit of the text that it stands for; ascending. */
  readonly starts: Int32Array
  /** For each token the unit behind the last one; tokens of one character share its range. */
  readonly ends: Int32Array
}

/**
 * A vocabulary with its rules. Special tokens written out in a text (`<|im_end|>`) become those tokens, as
 * in Hugging Face's tokenizers; no token is ever added at the ends. A lone surrogate counts as U+FFFD.
 */
export class Tokenizer {
  /** One more than the largest id. */
  readonly vocabSize: number
  /** The token that begins a text, where the vocabulary has one; it is never added on its own. */
  readonly bosTokenId: number | undefined
  /** The token that ends an assistant's turn. */
  readonly eosTokenId: number | undefined
  /** Named by the files only: nothing is padded here. */
  readonly padTokenId: number | undefined
  /** All tokens that end a reply: `eosTokenId` and what the model's generation settings add. */
  readonly endTokenIds: readonly number[]
  /** By the names that chat templates know: `bos_token`, `eos_token`, `pad_token`, … */
  readonly namedTokens: ReadonlyMap<string, string>
  readonly #parts: TokenizerParts
  readonly #asWritten: AddedTokens
  readonly #normalized: AddedTokens
  readonly #tokens: ReadonlyMap<number, string>
  readonly #ids: ReadonlyMap<string, number>
  readonly #special: ReadonlySet<number>

  constructor(parts: TokenizerParts) {
    this.#parts = parts
    const { added, model, named, ends = [] } = parts
    const normalText = (text: string): string => parts.normalize?.(alignedText(text)).text ?? text
    const [asWritten, normalized] = [
      added.filter((token) => !token.normalized),
      added.filter((t) => t.normalized),
    ]
    this.#asWritten = new AddedTokens(asWritten.map((token) => [token.content, token]))
    this.#normalized = new AddedTokens(normalized.map((token) => [normalText(token.content), token]))
    this.#ids = new Map([...model.vocab, ...added.map(({ content, id }) => [content, id] as const)])
    this.#tokens = new Map([...this.#ids].map(([token, id]) => [id, token]))
    this.#special = new Set(added.filter((token) => token.special).map((token) => token.id))
    this.vocabSize = [...this.#tokens.keys()].reduce((most, id) => Math.max(most, id + 1), 0)
    this.namedTokens = named
    const idOf = (name: string): number | undefined => this.#ids.get(named.get(name) ?? '')
    this.bosTokenId = idOf('bos_token')
    this.eosTokenId = idOf('eos_token')
    this.padTokenId = idOf('pad_token')
    this.endTokenIds = [...new Set([...(this.eosTokenId === undefined ? [] : [this.eosTokenId]), ...ends])]
  }

  /** The token ids of a text. */
  encode(text: string): Int32Array {
    return this.encodeWithOffsets(text).ids
  }

  /** The token ids of a text, with the place of each token in it. */
  encodeWithOffsets(text: string): EncodedText {
    const { normalize, split, model } = this.#parts
    const ids: number[] = []
    const starts: number[] = []
    const ends: number[] = []
    const add = (id: number, start: number, end: number): void => {
      if (id === dropped) return
      ids.push(id)
      starts.push(start)
      ends.push(end)
    }
    for (const section of this.#asWritten.split(alignedText(text.toWellFormed()))) {
      if ('token' in section) {
        add(section.token.id, section.start, section.end)
        continue
      }
      for (const part of this.#normalized.split(normalize?.(section) ?? section)) {
        if ('token' in part) {
          add(part.token.id, part.start, part.end)
          continue
        }
        for (const piece of split?.(part) ?? [part]) {
          let at = 0
          for (const { id, length } of model.encode(piece.text)) {
            add(id, piece.starts[at] ?? 0, piece.ends[at + Math.max(length, 1) - 1] ?? 0)
            at += length
          }
        }
      }
    }
    return { ids: Int32Array.from(ids), starts: Int32Array.from(starts), ends: Int32Array.from(ends) }
  }

  /** The text of token ids; bytes that are not UTF-8 become U+FFFD. */
  decode(ids: Iterable<number>, { skipSpecialTokens = false }: DecodeOptions = {}): string {
    const stream = this.decodeStream({ skipSpecialTokens })
    let text = ''
    for (const id of ids) text += stream.push(id)
    return text + stream.flush()
  }

  /** Decodes tokens as they are sampled: no character is given out before all of its bytes are there. */
  decodeStream({ skipSpecialTokens = false }: DecodeOptions = {}): DecodeStream {
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
    let first = true
    return {
      push: (id) => {
        if (skipSpecialTokens && this.#special.has(id)) return ''
        const bytes = this.#bytesOf(id, first)
        first = false
        return decoder.decode(bytes, { stream: true })
      },
      flush: () => decoder.decode(),
    }
  }

  /** Whether a token is a control token (`<|im_end|>`), not text. */
  isSpecial(id: number): boolean {
    return this.#special.has(id)
  }

  /** The id of a token as the vocabulary spells it. */
  idOf(token: string): number | undefined {
    return this.#ids.get(token)
  }

  /** A token as the vocabulary spells it. */
  tokenOf(id: number): string | undefined {
    return this.#tokens.get(id)
  }

  #bytesOf(id: number, first: boolean): Uint8Array {
    const token = this.#tokens.get(id)
    if (token === undefined)
      throw new ShadowError('invalid_request', `Token ${id} is not in the vocabulary of ${this.vocabSize}.`)
    return this.#parts.text(token, first)
  }
}

export interface DecodeOptions {
  /** Leave control tokens out of the text. Default false. */
  readonly skipSpecialTokens?: boolean
}

export interface DecodeStream {
  /** The text that became complete with this token; often '' inside a character of several bytes. */
  push(id: number): string
  /** What is left at the end; U+FFFD for a character that never became complete. */
  flush(): string
}
