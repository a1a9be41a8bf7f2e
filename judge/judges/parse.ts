/**
 * Reads scores out of what a judge wrote. Judges wrap JSON in fences, think aloud before it, answer with a table
 * or leave the braces away; whatever names an id and a number is read, and nothing is ever read by its position.
 */

export interface ReadScores {
  /** As given, not clamped. */
  scores: Map<string, number>
  /** Names that were scored and are nobody's. */
  unknown: string[]
}

/** @param ids the ids that were shown; the last value that a reply gives to one counts */
export function readScores(text: string, ids: readonly string[]): ReadScores {
  const known = new Set(ids)
  const answer = withoutThoughts(text)
  for (const value of jsonValues(answer).toReversed()) {
    const pairs = pairsOf(value)
    if (!pairs.some(([id]) => known.has(id))) continue
    return {
      scores: new Map(pairs.filter(([id]) => known.has(id))),
      unknown: pairs.map(([id]) => id).filter((id) => !known.has(id)),
    }
  }
  const scores = new Map<string, number>()
  for (const id of ids) {
    // The number must follow its id on the same line, over punctuation and words but over no other number.
    const found = [...answer.matchAll(new RegExp(`\\b${id}\\b[^\\n\\d]*?(-?\\d+(?:\\.\\d+)?)`, 'g'))].at(-1)
    if (found !== undefined) scores.set(id, Number(found[1]))
  }
  return { scores, unknown: [] }
}

/**
 * One score: `{"score": 0.7}`, `0.7`, `Score: 7/10`, `8` (out of ten). Null where there is no number or more than
 * one reading of the text.
 */
export function readScore(text: string): number | null {
  const answer = withoutThoughts(text).trim()
  for (const value of jsonValues(answer).toReversed()) {
    const score = scoreOf(value)
    if (score !== null) return score
  }
  const ratio = [...answer.matchAll(/(-?\d+(?:\.\d+)?)\s*(?:\/|out of)\s*(\d+(?:\.\d+)?)/g)].at(-1)
  if (ratio !== undefined && Number(ratio[2]) > 0) return Number(ratio[1]) / Number(ratio[2])
  const named = [...answer.matchAll(/score\b[^\n\d-]*(-?\d+(?:\.\d+)?)/gi)].at(-1)?.[1]
  const numbers = answer.match(/-?\d+(?:\.\d+)?/g) ?? []
  const only = named ?? (numbers.length === 1 ? numbers[0] : undefined)
  if (only === undefined) return null
  const score = Number(only)
  return Number.isInteger(score) && score > 1 && score <= 10 ? score / 10 : score
}

/** To [0, 1]. */
export function clamp(score: number): number {
  return Math.min(1, Math.max(0, score))
}

function withoutThoughts(text: string): string {
  return text.replace(/<think(?:ing)?>.*?<\/think(?:ing)?>/gis, '')
}

/** Every JSON object or array that stands at top level of the text, in order. */
function jsonValues(text: string): unknown[] {
  const values: unknown[] = []
  let from = 0
  // A judge that writes hundreds of lone brackets is not worth a quadratic search.
  let failures = 0
  while (from < text.length && failures < 200) {
    const offset = text.slice(from).search(/[[{]/)
    if (offset === -1) break
    const start = from + offset
    const end = endOfValue(text, start)
    const parsed = end === null ? undefined : tryParse(text.slice(start, end))
    if (parsed === undefined || end === null) {
      from = start + 1
      failures += 1
    } else {
      values.push(parsed.value)
      from = end
    }
  }
  return values
}

/** Where the brackets that open at `start` are closed again, strings skipped; null where they never are. */
function endOfValue(text: string, start: number): number | null {
  let depth = 0
  let quoted = false
  for (let at = start; at < text.length; at += 1) {
    const char = text[at]
    if (quoted) {
      if (char === '\\') at += 1
      else if (char === '"') quoted = false
    } else if (char === '"') quoted = true
    else if (char === '{' || char === '[') depth += 1
    else if (char === '}' || char === ']') {
      depth -= 1
      if (depth === 0) return at + 1
    }
  }
  return null
}

function tryParse(text: string): { value: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return { value }
  } catch {
    return undefined
  }
}

/** Every `{id, score}` and every `"id": score`, however deep they stand. */
function pairsOf(value: unknown): [string, number][] {
  if (Array.isArray(value)) return value.flatMap(pairsOf)
  if (typeof value !== 'object' || value === null) return []
  if ('id' in value && typeof value.id === 'string') {
    const score = scoreOf(value)
    return score === null ? [] : [[value.id, score]]
  }
  return Object.entries(value).flatMap(([key, inner]): [string, number][] => {
    const score = scoreOf(inner)
    return score === null ? pairsOf(inner) : [[key, score]]
  })
}

function scoreOf(value: unknown): number | null {
  if (typeof value === 'number') return Number.isFinite(value) ? value : null
  if (typeof value === 'string') {
    const trimmed = value.trim()
    return /^-?\d+(\.\d+)?$/.test(trimmed) ? Number(trimmed) : null
  }
  return typeof value === 'object' && value !== null && 'score' in value ? scoreOf(value.score) : null
}
