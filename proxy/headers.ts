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

/** Without the headers that end at this hop: the standing ones and those that `Connection` names. */
export function endToEnd(headers: Headers): Headers {
  const named = headers
    .filter(([name]) => name.toLowerCase() === 'connection')
    .flatMap(([, value]) => value.toLowerCase().split(','))
    .map((name) => name.trim())
  return headers.filter(([name]) => {
    const lower = name.toLowerCase()
    return !hopByHop.has(lower) && !named.includes(lower)
  })
}

/** The first value of that name (lower case); null where there is none or an empty one. */
export function headerOf(headers: Headers, name: string): string | null {
  const value = headers.find(([each]) => each.toLowerCase() === name)?.[1].trim()
  return value === undefined || value === '' ? null : value
}

export function without(headers: Headers, ...names: string[]): Headers {
  return headers.filter(([name]) => !names.includes(name.toLowerCase()))
}
