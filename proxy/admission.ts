/** The door that requests and WebSockets come through alike. */
import type { IncomingMessage } from 'node:http'
import { ShadowError } from '../src/lib/error.ts'
import { keyOf, targetFor } from './access.ts'
import type { ProxyContext } from './context.ts'
import { type Target, targetOf } from './target.ts'

/** Health tells nothing that matters, and the server's own API has a token of its own. */
const open = /^\/(?:health$|shadow\/)/

/**
 * Where the request goes, once it may; null for what is not the agents'. A key of Shadow's own is taken out of the
 * request, so that no upstream sees it.
 * @throws ShadowError too_large | invalid_request | missing_key | forbidden
 */
export function admit({ access, limits }: ProxyContext, req: IncomingMessage): Target | null {
  const url = req.url ?? '/'
  if (url.length > limits.urlBytes) {
    throw new ShadowError('too_large', `The URL is longer than ${limits.urlBytes} bytes.`, {
      hint: 'Send what it holds in the body.',
    })
  }
  const target = targetOf(url)
  if (target === null && open.test(url)) return null
  const key = keyOf(access, req)
  return target === null ? null : targetFor(key, target, req)
}
