/** Where a request's URL points: an optional task, and the path below `/v1`. */
import { ShadowError } from '../src/lib/error.ts'
import { checkedTaskName } from './task-of.ts'

export interface Target {
  readonly task: string | null
  /** Who calls, where the request came with a key of Shadow's own. */
  readonly caller?: string
  /** Below the base URL, without the query: `/chat/completions`. */
  readonly path: string
  /** With its question mark; '' where there is none. */
  readonly query: string
}

const underV1 = /^(?:\/tasks\/([^/?#]*))?\/v1((?:\/[^?#]*)?)(\?[^#]*)?$/

/** What nearly no path holds is looked for first. */
const mayClimb = /[.%]/

/** A path that climbs, plainly or escaped, could leave the upstream's base path. */
const climbs = /(?:^|\/|\\|%2f|%5c)(?:\.|%2e){2}(?:\/|\\|%2f|%5c|$)/i

/**
 * Null for what the proxy has nothing to do with.
 * @throws ShadowError invalid_request for a path that climbs out of `/v1`, or a name that no task can have
 */
export function targetOf(url: string): Target | null {
  const found = underV1.exec(url)
  if (found === null) return null
  const [, task = null, path = '', query = ''] = found
  if (mayClimb.test(path) && climbs.test(path)) {
    throw new ShadowError('invalid_request', `The path ${path} leaves the API.`, { hint: 'Remove the "..".' })
  }
  return { task: task === null ? null : checkedTaskName(decoded(task)), path, query }
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}
