/** What the proxy sends a request to: the frontier, or the serving child, which is one upstream among others. */

export interface UpstreamRequest {
  method: string
  /** Path with query, beginning with `/`, below the upstream's base URL (`/chat/completions`). */
  path: string
  /** Names and values as they came, in order, hop-by-hop headers removed. */
  headers: readonly (readonly [string, string])[]
  /** Whole, or in chunks as they come in. */
  body: Uint8Array | AsyncIterable<Uint8Array> | null
  signal: AbortSignal
}

export interface UpstreamReply {
  status: number
  /** As they came, in order, repeated names kept. */
  headers: readonly (readonly [string, string])[]
  /** The body in its own chunks. Throws where the upstream cut it. */
  body: AsyncIterable<Uint8Array>
}

export interface Upstream {
  readonly name: string
  /** @throws ShadowError upstream_unreachable | upstream_timeout before the head has come */
  request(request: UpstreamRequest): Promise<UpstreamReply>
}
