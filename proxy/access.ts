/**
 * Who may use the proxy. A key of Shadow's own comes in `x-shadow-key`, or where the agent's client puts its key;
 * it is taken out of the request, so that no upstream sees it.
 */
import type { IncomingMessage } from 'node:http'
import { ShadowError } from '../src/lib/error.ts'
import { flatOf, flatValuesOf, headerOf, pairsOf } from './headers.ts'
import type { Target } from './target.ts'
import { checkedTaskName } from './task-of.ts'

/** What every key of Shadow's own begins with. */
export const keyPrefix = 'shadow_'

/** What stands for the agent where it came with a key of Shadow's own. */
export function callerOf(keyId: string): string {
  return `key:${keyId}`
}

export interface KnownKey {
  readonly id: string
  /** The tasks that it may be used for; null for all. */
  readonly tasks: readonly string[] | null
}

/** Asked on every request; answers from memory. */
export interface Access {
  /** Whether a request without a key is refused. */
  readonly isRequired: boolean
  /** Null for a key that doesn't exist or was revoked. */
  find(key: string): KnownKey | null
}

/** For a proxy that only its own machine can reach. */
export const openAccess: Access = { isRequired: false, find: () => null }

const places = ['x-shadow-key', 'authorization', 'x-api-key', 'api-key']

/**
 * The key that a request came with, after taking it out of the request; null where it came with none.
 * @throws ShadowError missing_key, also for a key that is not known; forbidden for a page of another site
 */
export function keyOf(access: Access, req: IncomingMessage): KnownKey | null {
  const given = givenKey(req.rawHeaders)
  if (given === undefined) {
    if (access.isRequired) {
      throw new ShadowError('missing_key', 'This proxy needs a key.', {
        hint: 'Create one with `shadow keys create NAME`, and send it as x-shadow-key or as the API key.',
      })
    }
    for (const origin of flatValuesOf(req.rawHeaders, 'origin')) checkOrigin(origin)
    return null
  }
  const isKey = ([name, value]: readonly [string, string]) =>
    places.includes(name.toLowerCase()) && value.includes(keyPrefix)
  req.rawHeaders = flatOf(pairsOf(req.rawHeaders).filter((header) => !isKey(header)))
  const key = access.find(given)
  if (key === null) {
    throw new ShadowError('missing_key', 'This key is not known, or was revoked.', {
      hint: '`shadow keys list` shows the keys there are.',
    })
  }
  return key
}

function givenKey(flat: readonly string[]): string | undefined {
  if (!flat.some((text) => text.includes(keyPrefix))) return undefined
  const headers = pairsOf(flat)
  return places
    .map((name) => headerOf(headers, name)?.replace(/^Bearer\s+/i, '') ?? '')
    .find((value) => value.startsWith(keyPrefix))
}

/**
 * The target with the task that the key stands for, where the request names none.
 * @throws ShadowError forbidden when the key is for other tasks
 */
export function targetFor(key: KnownKey | null, target: Target, req: IncomingMessage): Target {
  if (key === null) return target
  const caller = callerOf(key.id)
  if (key.tasks === null) return { ...target, caller }
  const header = headerOf(pairsOf(req.rawHeaders), 'x-task')
  const named = target.task ?? (header === null ? null : checkedTaskName(header))
  const only = key.tasks.length === 1 ? (key.tasks[0] ?? null) : null
  const task = named ?? only
  if (task === null || !key.tasks.includes(task)) {
    throw new ShadowError(
      'forbidden',
      `This key is for ${key.tasks.join(', ')}${task === null ? '' : `, not for ${task}`}.`,
      {
        hint: 'Name one of its tasks: use /tasks/NAME/v1 as the base URL, or send x-task.',
      },
    )
  }
  return { ...target, task, caller }
}

/** A browser would let any page post to this machine; what it sends says where the page came from. */
function checkOrigin(origin: string): void {
  const url = URL.parse(origin)
  if (url === null || !/^https?:$/.test(url.protocol)) return
  if (/^(?:localhost|.*\.localhost|127(?:\.\d+){3}|\[::1\])$/.test(url.hostname)) return
  throw new ShadowError('forbidden', 'A page of another site may not use this proxy without a key.', {
    hint: 'Create a key with `shadow keys create NAME` and send it as x-shadow-key.',
  })
}
