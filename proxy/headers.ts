/** Header lists as they are on the wire: names and values in order, repeats kept, bytes as latin1. */

export type Headers = readonly (readonly [string, string])[]

/** RFC 9110, section 7.6.1, and what belongs to one connection by older custom. */
const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** From Node's flat list. */
export function pairsOf(flat: readonly string[]): [string, string][] {
  const pairs: [string, string][] = []
  for (let at = 0; at + 1 < flat.length; at += 2) pairs.push([flat[at] ?? '', flat[at + 1] ?? ''])
  return pairs
}

/** To Node's flat list. */
export function flatOf(headers: Headers): string[] {
  const flat: string[] = []
  for (const [name, value] of headers) flat.push(name, value)
  return flat
}

/** Without the headers that end at this hop: the standing ones, those that `Connection` names, and `more` (lower case). */
export function endToEnd(headers: Headers, more?: string): Headers {
  let named: string[] | null = null
  const kept: (readonly [string, string])[] = []
  for (const header of headers) {
    const lower = header[0].toLowerCase()
    if (lower === 'connection' && !isPlain(header[1])) named = [...(named ?? []), ...namesIn(header[1])]
    if (lower !== more && !hopByHop.has(lower)) kept.push(header)
  }
  return named === null ? kept : without(kept, ...named)
}

/** Whether a `Connection` says no more than nearly all of them do. */
function isPlain(connection: string): boolean {
  return connection === 'keep-alive' || connection === 'close'
}

function namesIn(connection: string): string[] {
  return connection
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
}

/** The values of that name (lower case) in Node's flat list. */
export function flatValuesOf(flat: readonly string[], name: string): string[] {
  const values: string[] = []
  for (let at = 0; at + 1 < flat.length; at += 2) {
    const each = flat[at] ?? ''
    if (each.length === name.length && each.toLowerCase() === name) values.push(flat[at + 1] ?? '')
  }
  return values
}

/** The first value of that name (lower case); null where there is none or an empty one. */
export function headerOf(headers: Headers, name: string): string | null {
  for (const [each, value] of headers) {
    if (each.length === name.length && each.toLowerCase() === name) return value.trim() || null
  }
  return null
}

export function without(headers: Headers, ...names: string[]): Headers {
  return headers.filter(([name]) => !names.includes(name.toLowerCase()))
}
