/** Asks an upstream to switch protocols, for WebSockets: undici keeps no reply's headers as they came. */
import { type IncomingMessage, request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { UpgradeReply, UpgradeRequest } from '../src/contract/index.ts'
import { flatOf, type Headers, pairsOf } from './headers.ts'

export interface UpgradeTarget {
  readonly url: URL
  readonly socketPath: string | undefined
  readonly timeoutMs: number
}

/** Rejects with what went wrong before the upstream's head came. */
export function requestUpgrade(
  { url, socketPath, timeoutMs }: UpgradeTarget,
  path: string,
  headers: Headers,
  signal: UpgradeRequest['signal'],
): Promise<UpgradeReply> {
  const ask = url.protocol === 'https:' ? httpsRequest : httpRequest
  return new Promise((resolve, reject) => {
    const sent = ask({
      protocol: url.protocol,
      hostname: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port,
      path,
      headers: flatOf([['host', url.host], ...headers]),
      agent: false,
      signal,
      ...(socketPath === undefined ? {} : { socketPath }),
    })
    if (timeoutMs > 0) sent.setTimeout(timeoutMs, () => sent.destroy(new Error('no answer in time')))
    const headOf = (reply: IncomingMessage) => ({
      status: reply.statusCode ?? 502,
      statusText: reply.statusMessage ?? '',
      headers: pairsOf(reply.rawHeaders),
    })
    sent.once('upgrade', (reply, socket, rest) => {
      sent.setTimeout(0)
      socket.setTimeout(0)
      resolve({ ...headOf(reply), socket, rest, body: null })
    })
    sent.once('response', (reply) => resolve({ ...headOf(reply), socket: null, rest: null, body: reply }))
    sent.once('error', reject)
    sent.end()
  })
}
