/** What the proxy takes in, and for how long it waits for it. Every default is here. */

export interface ProxyLimits {
  /** Bytes of a captured call's body, which is held in memory until it is on record. Default 128 MiB. */
  readonly requestBytes: number
  /** Bytes of a request's line and headers together. Default 64 KiB. */
  readonly headerBytes: number
  /** Bytes of a URL. Default 8 KiB. */
  readonly urlBytes: number
  /** Milliseconds in which a request's headers have to be there. Default 30 s. */
  readonly headersTimeoutMs: number
  /** Milliseconds in which a request has to be there, body and all; 0 waits for ever. Default 10 min. */
  readonly requestTimeoutMs: number
  /** Milliseconds between two looks for requests that are late. Default 5 s. */
  readonly checkIntervalMs: number
}

export const defaultLimits: ProxyLimits = {
  requestBytes: 128 * 1024 * 1024,
  headerBytes: 64 * 1024,
  urlBytes: 8 * 1024,
  headersTimeoutMs: 30_000,
  requestTimeoutMs: 600_000,
  checkIntervalMs: 5_000,
}
