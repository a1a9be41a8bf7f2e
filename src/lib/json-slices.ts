/**
 * Finds where the values of a JSON object lie in its bytes, so that they can be stored, hashed and put
 * together again exactly as they came: no number is rounded, no key reordered, no escape rewritten.
 * One pass checks the whole syntax (RFC 8259); it keeps no call stack, so nesting costs no memory.
 */
import { ShadowError } from './error.ts'

/** A range of bytes, `end` exclusive. */
export interface Slice {
  readonly start: number
  readonly end: number
}

export interface JsonMember {
  /** Decoded; a name may occur more than once, and readers of JSON take the last. */
  readonly name: string
  /** Where the name's opening quote stands. */
  readonly nameStart: number
  readonly value: Slice
  /** The elements where the value is an array. */
  readonly elements: readonly Slice[] | null
}

/** Containers inside each other beyond which a body is refused. */
export const maxJsonDepth = 512

const quote = 0x22
const comma = 0x2c
const colon = 0x3a
const backslash = 0x5c
const openBracket = 0x5b
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d
const plus = 0x2b
const minus = 0x2d
const point = 0x2e
const zero = 0x30

/**
 * The members of the JSON object that fills `range` of `bytes` (all of it by default), in their order.
 * @throws ShadowError invalid_request, with the byte at fault, when it is no JSON object or nests too deep
 */
export function scanJsonObject(bytes: Uint8Array, range: Slice = wholeOf(bytes)): JsonMember[] {
  const start = skipSpace(bytes, range.start + markAt(bytes, range), range.end)
  if (start === range.end) throw malformed('the body is empty', start)
  if (bytes[start] !== openBrace) {
    // Values of other kinds are checked too, so that the message names what is really wrong.
    new Scanner(bytes, range.end).document(start)
    throw malformed('a JSON object was expected', start)
  }
  const scanner = new Scanner(bytes, range.end)
  scanner.document(start)
  return scanner.members
}

/** The last member of that name, as every common JSON reader resolves repeated names. */
export function memberNamed(members: readonly JsonMember[], name: string): JsonMember | undefined {
  return members.findLast((member) => member.name === name)
}

/** The bytes of a slice, without a copy. */
export function sliceOf(bytes: Uint8Array, slice: Slice): Uint8Array {
  return bytes.subarray(slice.start, slice.end)
}

/** Parses the JSON text in a slice that a scan has found valid. */
export function parseSlice(bytes: Uint8Array, slice: Slice = wholeOf(bytes)): unknown {
  return JSON.parse(textOfBytes(bytes, slice))
}

/** UTF-8 bytes as text; invalid sequences become U+FFFD. */
export function textOfBytes(bytes: Uint8Array, slice: Slice = wholeOf(bytes)): string {
  return asBuffer(bytes).toString('utf8', slice.start, slice.end)
}

/** The same memory as a Buffer. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Bytes of a byte order mark, which servers overlook. */
function markAt(bytes: Uint8Array, { start, end }: Slice): number {
  const isMark =
    end - start > 3 && bytes[start] === 0xef && bytes[start + 1] === 0xbb && bytes[start + 2] === 0xbf
  return isMark ? 3 : 0
}

function wholeOf(bytes: Uint8Array): Slice {
  return { start: 0, end: bytes.length }
}

class Scanner {
  readonly members: JsonMember[] = []
  private readonly bytes: Uint8Array
  private readonly end: number
  /** The closing bytes of the containers that are open, outermost first. */
  private readonly open: number[] = []
  private depth = 0
  private name = ''
  private nameStart = 0
  private valueStart = 0
  private elements: Slice[] | null = null
  private elementStart = 0

  constructor(bytes: Uint8Array, end: number) {
    this.bytes = bytes
    this.end = end
  }

  /** Checks one value from `start` to the end of the range and notes the members of the outermost object. */
  document(start: number): void {
    let at = start
    for (;;) {
      at = this.value(at)
      // A value has ended: close what ends with it, or go on to the next one.
      for (;;) {
        if (this.depth === 0) {
          at = skipSpace(this.bytes, at, this.end)
          if (at !== this.end) throw malformed('text follows the JSON value', at)
          return
        }
        this.valueEnded(at)
        at = skipSpace(this.bytes, at, this.end)
        const byte = at < this.end ? this.bytes[at] : undefined
        const closing = this.open[this.depth - 1]
        if (byte === comma) {
          at = skipSpace(this.bytes, at + 1, this.end)
          if (closing === closeBrace) at = this.memberName(at)
          break
        }
        if (byte === undefined || byte !== closing) {
          throw malformed(`"," or "${closing === closeBrace ? '}' : ']'}" was expected`, at)
        }
        this.depth--
        at++
      }
    }
  }

  /** Passes over one scalar, or into containers up to the first scalar or empty container; returns its end. */
  private value(start: number): number {
    let at = start
    for (;;) {
      at = skipSpace(this.bytes, at, this.end)
      this.valueStarts(at)
      const byte = at < this.end ? this.bytes[at] : undefined
      if (byte === quote) return skipString(this.bytes, at, this.end)
      if (byte !== openBrace && byte !== openBracket) return skipScalar(this.bytes, at, this.end)
      if (this.depth === maxJsonDepth) {
        throw malformed(`values are nested more than ${maxJsonDepth} deep`, at)
      }
      if (this.depth === 1) this.elements = byte === openBracket ? [] : null
      const closing = byte === openBrace ? closeBrace : closeBracket
      const inside = skipSpace(this.bytes, at + 1, this.end)
      if (this.bytes[inside] === closing && inside < this.end) return inside + 1
      this.open[this.depth++] = closing
      at = closing === closeBrace ? this.memberName(inside) : inside
    }
  }

  private memberName(start: number): number {
    if (start >= this.end || this.bytes[start] !== quote) throw malformed('a member name was expected', start)
    const end = skipString(this.bytes, start, this.end)
    if (this.depth === 1) {
      this.name = nameOf(this.bytes, start, end)
      this.nameStart = start
    }
    const at = skipSpace(this.bytes, end, this.end)
    if (at >= this.end || this.bytes[at] !== colon) throw malformed('":" was expected', at)
    return at + 1
  }

  private valueStarts(at: number): void {
    if (this.depth === 1) {
      this.valueStart = at
      this.elements = null
    } else if (this.depth === 2) this.elementStart = at
  }

  private valueEnded(end: number): void {
    if (this.depth === 1) {
      this.members.push({
        name: this.name,
        nameStart: this.nameStart,
        value: { start: this.valueStart, end },
        elements: this.elements,
      })
    } else if (this.depth === 2 && this.elements !== null) {
      this.elements.push({ start: this.elementStart, end })
    }
  }
}

function nameOf(bytes: Uint8Array, start: number, end: number): string {
  const text = asBuffer(bytes).toString('utf8', start + 1, end - 1)
  if (!text.includes('\\')) return text
  const decoded: unknown = JSON.parse(`"${text}"`)
  return String(decoded)
}

function skipSpace(bytes: Uint8Array, start: number, end: number): number {
  let at = start
  while (at < end) {
    const byte = bytes[at]
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break
    at++
  }
  return at
}

function skipString(bytes: Uint8Array, start: number, end: number): number {
  let at = start + 1
  while (at < end) {
    const byte = bytes[at]
    if (byte === quote) return at + 1
    if (byte === backslash) at = skipEscape(bytes, at, end)
    else if (byte !== undefined && byte < 0x20) throw malformed('a control character stands in a string', at)
    else at++
  }
  throw malformed('a string does not end', end)
}

/** Bytes that may follow a backslash alone. */
const escapes = new Set(Buffer.from('"\\/bfnrt'))
const letterU = 0x75

function skipEscape(bytes: Uint8Array, start: number, end: number): number {
  const kind = start + 1 < end ? (bytes[start + 1] ?? 0) : 0
  if (escapes.has(kind)) return start + 2
  if (kind === letterU && start + 6 <= end && areHex(bytes, start + 2, start + 6)) return start + 6
  throw malformed('an escape is not valid', start)
}

function areHex(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0
    const letter = byte | 0x20
    if (!isDigit(byte) && (letter < 0x61 || letter > 0x66)) return false
  }
  return true
}

const trueText = Buffer.from('true')
const falseText = Buffer.from('false')
const nullText = Buffer.from('null')

function skipScalar(bytes: Uint8Array, start: number, end: number): number {
  const at = scalarEnd(bytes, start, end)
  if (at !== null && !(at < end && isScalarByte(bytes[at]))) return at
  let last = start
  while (last < end && isScalarByte(bytes[last])) last++
  if (last === start) throw malformed('a value was expected', start)
  const text = asBuffer(bytes).toString('latin1', start, last)
  throw malformed(`"${text.slice(0, 20)}" is no JSON value`, start)
}

function scalarEnd(bytes: Uint8Array, start: number, end: number): number | null {
  const first = start < end ? bytes[start] : undefined
  if (first === trueText[0]) return skipLiteral(bytes, start, end, trueText)
  if (first === falseText[0]) return skipLiteral(bytes, start, end, falseText)
  if (first === nullText[0]) return skipLiteral(bytes, start, end, nullText)
  return skipNumber(bytes, start, end)
}

function skipLiteral(bytes: Uint8Array, start: number, end: number, literal: Uint8Array): number | null {
  if (start + literal.length > end) return null
  for (let at = 0; at < literal.length; at++) if (bytes[start + at] !== literal[at]) return null
  return start + literal.length
}

/** RFC 8259, section 6; null where there is none. */
function skipNumber(bytes: Uint8Array, start: number, end: number): number | null {
  let at = start
  if (at < end && bytes[at] === minus) at++
  const whole = at
  at = skipDigits(bytes, at, end)
  if (at === whole || (bytes[whole] === zero && at > whole + 1)) return null
  if (at < end && bytes[at] === point) {
    const fraction = at + 1
    at = skipDigits(bytes, fraction, end)
    if (at === fraction) return null
  }
  if (at < end && ((bytes[at] ?? 0) | 0x20) === 0x65) {
    at++
    if (at < end && (bytes[at] === plus || bytes[at] === minus)) at++
    const exponent = at
    at = skipDigits(bytes, at, end)
    if (at === exponent) return null
  }
  return at
}

function skipDigits(bytes: Uint8Array, start: number, end: number): number {
  let at = start
  while (at < end && isDigit(bytes[at])) at++
  return at
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39
}

/** Letters, digits, `+`, `-` and `.`: what numbers and literals are made of, and what would run into them. */
function isScalarByte(byte: number | undefined): boolean {
  if (byte === undefined) return false
  return (
    (byte >= 0x30 && byte <= 0x39) ||
    (byte >= 0x61 && byte <= 0x7a) ||
    (byte >= 0x41 && byte <= 0x5a) ||
    byte === 0x2b ||
    byte === 0x2d ||
    byte === 0x2e
  )
}

function malformed(what: string, at: number): ShadowError {
  return new ShadowError('invalid_request', `The body is not valid JSON: ${what}, at byte ${at}.`, {
    hint: 'Send one JSON object, encoded as UTF-8.',
  })
}
