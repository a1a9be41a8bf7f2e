/**
 * Equality of JSON values: order of keys and spelling of numbers and strings make no difference (what RFC 8785
 * calls the canonical form), everything else does. A value may stand in a fenced block, since models like to put
 * it there. A reference that is no JSON is compared as text; an answer that is none, to a reference that is, is wrong.
 */
import type { Scorer } from '../../src/contract/index.ts'

export const json: Scorer = {
  name: 'json',
  score(answer, reference) {
    const wanted = parse(reference)
    if (wanted === undefined) return answer.trim() === reference.trim() ? 1 : 0
    const given = parse(answer)
    return given !== undefined && equal(given.value, wanted.value) ? 1 : 0
  },
}

const fenced = /^```(?:json)?[^\S\n]*\n(.*?)\n?```$/is

function parse(text: string): { value: unknown } | undefined {
  const trimmed = text.trim()
  const body = fenced.exec(trimmed)?.[1] ?? trimmed
  try {
    const value: unknown = JSON.parse(body)
    return { value }
  } catch {
    return undefined
  }
}

/** Compares with a list of pairs still to be looked at, so that deep nesting can't overflow the stack. */
function equal(left: unknown, right: unknown): boolean {
  const pairs: [unknown, unknown][] = [[left, right]]
  for (let pair = pairs.pop(); pair !== undefined; pair = pairs.pop()) {
    const [a, b] = pair
    // RFC 8785 writes -0 as 0, which === agrees with; JSON has no NaN.
    if (a === b) continue
    if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
    if (Array.isArray(a) !== Array.isArray(b)) return false
    const left = new Map<string, unknown>(Object.entries(a))
    const right = new Map<string, unknown>(Object.entries(b))
    if (left.size !== right.size) return false
    for (const [key, value] of left) {
      if (!right.has(key)) return false
      pairs.push([value, right.get(key)])
    }
  }
  return true
}
