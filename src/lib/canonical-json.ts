/**
 * JSON in one canonical form, RFC 8785 (JCS): members sorted by UTF-16 code units, no white space,
 * numbers and strings as ECMAScript writes them. Two deviations, both because nothing may be called equal
 * that isn't: a number that a double can't hold keeps its decimal digits, where the RFC would refuse it,
 * and a lone surrogate is written as an escape.
 */

/** A number whose source says more than a double holds. */
class ExactNumber {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

interface Frame {
  /** Names of an object in canonical order; null for an array. */
  readonly names: readonly string[] | null
  readonly values: readonly unknown[]
  next: number
}

/** Texts whose numbers may not fit a double: 16 digits in a row or an exponent. */
const mayBeInexact = /[0-9][0-9.]{15}|[0-9][eE]/

/**
 * The canonical form of a JSON text.
 * @throws SyntaxError when it is no JSON; RangeError when it holds such a number and nests thousands deep
 */
export function canonicalJsonText(text: string): string {
  return canonicalJson(parseExactly(text))
}

/** Parses JSON for `canonicalJson`, keeping numbers that a double would round. */
export function parseExactly(text: string): unknown {
  if (!mayBeInexact.test(text)) return JSON.parse(text)
  // The third argument (ECMAScript 2026) isn't in TypeScript's library yet.
  return JSON.parse(text, (...[, value, context]: unknown[]) => {
    const source = sourceOf(context)
    if (typeof value !== 'number' || source === undefined) return value
    const written = decimal(source)
    return Number.isFinite(value) && decimal(String(value)) === written ? value : new ExactNumber(written)
  })
}

function sourceOf(context: unknown): string | undefined {
  if (typeof context !== 'object' || context === null || !('source' in context)) return undefined
  return typeof context.source === 'string' ? context.source : undefined
}

/** The canonical form of a value as JSON.parse or `parseExactly` gives it, however deep. */
export function canonicalJson(value: unknown): string {
  const out: string[] = []
  const frames: Frame[] = []
  let current = value
  for (;;) {
    const frame = frameOf(current)
    if (frame === null) out.push(scalar(current))
    else {
      out.push(frame.names === null ? '[' : '{')
      frames.push(frame)
    }
    for (;;) {
      const top = frames.at(-1)
      if (top === undefined) return out.join('')
      if (top.next < top.values.length) {
        if (top.next > 0) out.push(',')
        const name = top.names?.[top.next]
        if (name !== undefined) out.push(JSON.stringify(name), ':')
        current = top.values[top.next++]
        break
      }
      out.push(top.names === null ? ']' : '}')
      frames.pop()
    }
  }
}

function frameOf(value: unknown): Frame | null {
  if (typeof value !== 'object' || value === null || value instanceof ExactNumber) return null
  if (Array.isArray(value)) return { names: null, values: value, next: 0 }
  const entries = Object.entries(value)
  if (entries.length > 1) entries.sort(byName)
  const names: string[] = []
  const values: unknown[] = []
  for (const [name, member] of entries) {
    if (member === undefined) continue
    names.push(name)
    values.push(member)
  }
  return { names, values, next: 0 }
}

/** By UTF-16 code units. */
function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1
}

function scalar(value: unknown): string {
  if (value instanceof ExactNumber) return value.text
  return JSON.stringify(value ?? null)
}

/** Sign, digits without outer zeros, and exponent of a decimal number: equal exactly for equal numbers. */
function decimal(source: string): string {
  const parts = /^(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$/.exec(source)
  if (parts === null) return source
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = parts
  const digits = `${whole}${fraction}`.replace(/^0+/, '')
  const significant = digits.replace(/0+$/, '')
  if (significant === '') return '0'
  const power = BigInt(exponent) - BigInt(fraction.length) + BigInt(digits.length - significant.length)
  return `${sign}${significant}e${power}`
}
