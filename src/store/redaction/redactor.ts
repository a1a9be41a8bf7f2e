/**
 * Takes personal data out of a call before it is hashed and written. What the agent and the upstream see is another
 * copy, which nothing of this touches.
 */
import { Buffer } from 'node:buffer'
import type { RedactedCounts, Redaction } from '../../contract/index.ts'
import { linearRegex } from '../../lib/linear-regex.ts'
import { isCardNumber, kinds, type Matcher } from './kinds.ts'

/** Values that give a conversation its structure, or by which it is put together again: users' patterns spare them. */
const structural = new Set([
  'role',
  'type',
  'object',
  'model',
  'id',
  'tool_call_id',
  'call_id',
  'item_id',
  'tool_use_id',
  'previous_response_id',
  'status',
  'finish_reason',
  'stop_reason',
])

/** Objects that are users' and models' own all the way down, so that no name in them gives structure. */
const ownObjects = new Set(['input', 'metadata'])

/** Characters from which a run of nothing but base64 is a picture or a sound rather than text. */
const blobChars = 256
const blob = /^(?:data:[\w.+/;=-]{0,100};base64,)?[A-Za-z0-9+/_-]+={0,2}$/

interface NamedMatcher extends Matcher {
  readonly name: string
}

export class Redactor {
  private readonly patterns: readonly NamedMatcher[]
  private readonly kinds: readonly NamedMatcher[]
  private readonly hasCards: boolean

  /** @throws ShadowError invalid_config for a pattern that can't be matched in linear time */
  constructor({ kinds: wanted, patterns }: Redaction) {
    this.hasCards = wanted.includes('credit_card')
    this.patterns = patterns.map(({ name, pattern, ignoreCase }) => ({
      name,
      pattern: linearRegex(pattern, ignoreCase ? 'gi' : 'g'),
    }))
    this.kinds = wanted.flatMap((name) => kinds[name].map((matcher) => ({ ...matcher, name })))
  }

  /** @param counts is added to */
  text(text: string, counts: RedactedCounts): string {
    return without(this.kinds, without(this.patterns, text, counts), counts)
  }

  /**
   * The same for every text in a JSON document, keys left as they are; everything else keeps its bytes. What is no
   * JSON is one text.
   * @returns the very same bytes where nothing was found
   */
  json(bytes: Uint8Array, counts: RedactedCounts): Uint8Array {
    const document = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
    const redacted = /^\s*[[{]/.test(document) ? this.values(document, counts) : this.text(document, counts)
    return redacted === document ? bytes : Buffer.from(redacted)
  }

  private values(document: string, counts: RedactedCounts): string {
    const pieces: string[] = []
    let key = ''
    let end = 0
    const nesting = new Nesting()
    for (let start = document.indexOf('"'); start !== -1; start = document.indexOf('"', end)) {
      const between = document.slice(end, start)
      nesting.pass(between)
      end = endOfString(document, start)
      const token = document.slice(start, end)
      const isKey = /^\s*:/.test(document.slice(end, end + 64))
      const isStructural = structural.has(key) && !nesting.isInOwn
      const redacted = isKey ? token : this.token(token, isStructural, counts)
      pieces.push(this.gap(between, counts), redacted)
      // A value that follows is this key's; the elements of a list are its list's.
      if (isKey) key = token.slice(1, -1)
      nesting.opener = isKey ? key : ''
    }
    pieces.push(this.gap(document.slice(end), counts))
    return pieces.join('')
  }

  private token(token: string, isStructural: boolean, counts: RedactedCounts): string {
    const text = token.includes('\\') ? decoded(token) : token.slice(1, -1)
    if (text === null) return this.text(token, counts)
    if (text.length >= blobChars && blob.test(text)) return token
    const redacted = isStructural ? without(this.kinds, text, counts) : this.text(text, counts)
    return redacted === text ? token : JSON.stringify(redacted)
  }

  /** Numbers stand between texts; a card's number is one that may. */
  private gap(text: string, counts: RedactedCounts): string {
    if (!this.hasCards || text.length < 13) return text
    return text.replace(/(?<![\d.eE+-])\d{13,19}(?![\d.eE])/g, (digits) => {
      if (!isCardNumber(digits)) return digits
      counts['credit_card'] = (counts['credit_card'] ?? 0) + 1
      return '"[redacted:credit_card]"'
    })
  }
}

/** Which objects a place in a document lies in. */
class Nesting {
  /** The key whose value begins next; '' where none does. */
  opener = ''
  private readonly open: boolean[] = []

  get isInOwn(): boolean {
    return this.open.at(-1) === true
  }

  /** What stands between two texts. */
  pass(text: string): void {
    for (const character of text) {
      if (character === '{') this.open.push(this.isInOwn || ownObjects.has(this.opener))
      else if (character === '[') this.open.push(this.isInOwn)
      else if (character === '}' || character === ']') this.open.pop()
      else if (character !== ',') continue
      this.opener = ''
    }
  }
}

function without(matchers: readonly NamedMatcher[], text: string, counts: RedactedCounts): string {
  let left = text
  for (const { name, pattern, isOne } of matchers) {
    left = left.replace(pattern, (match) => {
      if (match === '' || isOne?.(match) === false) return match
      counts[name] = (counts[name] ?? 0) + 1
      return `[redacted:${name}]`
    })
  }
  return left
}

/** Null for what only looks like a text of JSON. */
function decoded(token: string): string | null {
  try {
    return String(JSON.parse(token))
  } catch {
    return null
  }
}

/** Just behind the closing quote; of a text that never closes, the document's end. */
function endOfString(document: string, start: number): number {
  for (let at = start + 1; ; at++) {
    at = document.indexOf('"', at)
    if (at === -1) return document.length
    let backslashes = 0
    while (document[at - 1 - backslashes] === '\\') backslashes++
    if (backslashes % 2 === 0) return at + 1
  }
}
