/** What the proxy sends a request to: the frontier, or the serving child, which is one upstream among others. */
import type { Duplex, Readable } from 'node:stream'

/** What is asked of an AbortSignal. */
export interface CancelSignal extends Pick<AbortSignal, 'aborted' | 'reason'> {
  addEventListener(type: 'abort', listener: () => void, options?: { once: boolean }): void
  removeEventListener(type: 'abort', listener: () => void): void
}

export interface UpstreamRequest {
  method: string
  /** Path with query, beginning with `/`, below the upstream's base URL (`/chat/completions`). */
  path: string
  /** Names and values as they came, in order, hop-by-hop headers removed. */
  headers: readonly (readonly [string, string])[]
  /** Whole, or in chunks as they come in. */
  body: Uint8Array | AsyncIterable<Uint8Array> | null
  signal: CancelSignal
}

export interface UpstreamReply {
  status: number
  /** The reason phrase that came with it; left out where the usual one does. */
  statusText?: string
  /** As they came, in order, repeated names kept. */
  headers: readonly (readonly [string, string])[]
  /** The body in its own chunks. Throws where the upstream cut it. */
  body: AsyncIterable<Uint8Array>
}

/** Asks for another protocol on the connection. Header names and values as they are to be sent, without the host. */
export interface UpgradeRequest {
  path: string
  headers: readonly (readonly [string, string])[]
  signal: AbortSignal
}

/** The head as it came, and the connection with what was read of it beyond the head; or a body, where it was declined. */
export type UpgradeReply = Omit<UpstreamReply, 'body'> & { statusText: string } & (
    | { socket: Duplex; rest: Uint8Array; body: null }
    | { socket: null; rest: null; body: Readable }
  )

export interface Upstream {
  readonly name: string
  /** Absent where the upstream takes no WebSockets. @throws ShadowError upstream_unreachable */
  upgrade?(request: UpgradeRequest): Promise<UpgradeReply>
  /** @throws ShadowError upstream_unreachable | upstream_timeout before the head has come */
  request(request: UpstreamRequest): Promise<UpstreamReply>
}
