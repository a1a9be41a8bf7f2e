/** An OpenAI-compatible server over HTTP, on a host or on a Unix socket. */
import { Readable } from 'node:stream'
import { type Dispatcher, Pool } from 'undici'
import type { CancelSignal, Upstream, UpstreamReply, UpstreamRequest } from '../src/contract/index.ts'
import { messageOf, ShadowError } from '../src/lib/error.ts'
import { type Headers, pairsOf, without } from './headers.ts'
import { requestUpgrade } from './http-upgrade.ts'
import { ReplyBody } from './reply-body.ts'

/** Milliseconds; 0 waits for ever. None of them ends a reply that is still coming. */
export interface UpstreamTimeouts {
  /** Until the connection stands. Default 10 s. */
  connectMs?: number
  /** From the request's end to the reply's head. Default 10 min, which is what OpenAI's clients wait. */
  firstByteMs?: number
  /** Between two chunks of the body. Default 10 min. */
  idleMs?: number
}

export interface HttpUpstreamOptions {
  /** As `x-shadow-served-by` and the records show it. */
  name: string
  /** With its path, `https://api.openai.com/v1`. */
  baseUrl: string
  /** Sent in the place of the agent's own. */
  apiKey?: string
  /** The header that the key goes in. Default `authorization`, as a bearer token. */
  keyHeader?: 'authorization' | 'x-api-key'
  /** Path of a Unix socket to connect to; host and port of `baseUrl` are then only names. */
  socketPath?: string
  timeouts?: UpstreamTimeouts
}

export interface HttpUpstream extends Upstream {
  /** Ends idle connections at once, and the others with the requests on them. */
  close(): Promise<void>
}

/** @throws ShadowError invalid_config when the base URL is none */
export function createHttpUpstream(options: HttpUpstreamOptions): HttpUpstream {
  const url = parseBaseUrl(options.baseUrl)
  const { connectMs = 10_000, firstByteMs = 600_000, idleMs = 600_000 } = options.timeouts ?? {}
  const pool = new Pool(url.origin, {
    connect: {
      timeout: connectMs,
      ...(options.socketPath === undefined ? {} : { socketPath: options.socketPath }),
    },
    headersTimeout: firstByteMs,
    bodyTimeout: idleMs,
    // Heads as large as those that Shadow's own server lets in.
    maxHeaderSize: 65_536,
  })
  const basePath = url.pathname.replace(/\/+$/, '')
  return {
    name: options.name,
    request: (request) =>
      new Promise((resolve, reject) => {
        if (request.signal.aborted) {
          reject(request.signal.reason)
          return
        }
        pool.dispatch(
          {
            path: basePath + request.path,
            method: request.method,
            headers: flatHeadersFor(request, options),
            body: bodyFor(request),
          },
          new ReplyHandler(request.signal, resolve, (cause) => reject(describe(cause, options, request))),
        )
      }),
    async upgrade({ path, headers, signal }) {
      const target = { url, socketPath: options.socketPath, timeoutMs: connectMs }
      try {
        return await requestUpgrade(target, basePath + path, withKey(headers, options), signal)
      } catch (cause) {
        throw describe(cause instanceof Error ? cause : new Error(messageOf(cause)), options, { signal })
      }
    },
    close: () => pool.close(),
  }
}

function flatHeadersFor({ headers, body }: UpstreamRequest, options: HttpUpstreamOptions): string[] {
  const isStreamed = body !== null && !(body instanceof Uint8Array)
  const flat: string[] = []
  for (const [name, value] of withKey(headers, options)) {
    const lower = name.toLowerCase()
    if (lower !== 'host' && (isStreamed || lower !== 'content-length')) flat.push(name, value)
  }
  return flat
}

/** With one key of one's own, none of the agent's goes up. */
function withKey(headers: Headers, { apiKey, keyHeader = 'authorization' }: HttpUpstreamOptions): Headers {
  if (apiKey === undefined) return headers
  const key = keyHeader === 'authorization' ? `Bearer ${apiKey}` : apiKey
  return [...without(headers, 'authorization', 'x-api-key', 'api-key'), [keyHeader, key]]
}

function bodyFor({ body }: UpstreamRequest): Uint8Array | Readable | null {
  if (body === null || body instanceof Uint8Array || body instanceof Readable) return body
  return Readable.from(body)
}

class ReplyHandler implements Dispatcher.DispatchHandler {
  private readonly signal: CancelSignal
  private readonly resolve: (reply: UpstreamReply) => void
  private readonly reject: (cause: Error) => void
  private body: ReplyBody | null = null
  private stopListening = () => {}

  constructor(signal: CancelSignal, resolve: (reply: UpstreamReply) => void, reject: (cause: Error) => void) {
    this.signal = signal
    this.resolve = resolve
    this.reject = reject
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    const abort = () => controller.abort(reasonOf(this.signal))
    if (this.signal.aborted) {
      abort()
      return
    }
    this.signal.addEventListener('abort', abort, { once: true })
    this.stopListening = () => this.signal.removeEventListener('abort', abort)
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    statusCode: number,
    _headers: unknown,
    statusText?: string,
  ): void {
    // An informational head; the real one follows.
    if (statusCode < 200) return
    this.body = new ReplyBody(controller)
    const reply = { status: statusCode, headers: rawHeaders(controller), body: this.body }
    this.resolve(isPhrase(statusText) ? { ...reply, statusText } : reply)
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.body?.push(chunk)
  }

  onResponseEnd(): void {
    this.stopListening()
    this.body?.end()
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.stopListening()
    if (this.body === null) this.reject(error)
    else this.body.fail(error)
  }
}

/** Whether it can be written again. */
function isPhrase(text: string | undefined): text is string {
  return text !== undefined && /^[\t\x20-\x7e]*$/.test(text)
}

/** Header bytes as latin1, which is how Node writes them again. */
function rawHeaders({ rawHeaders: raw }: Dispatcher.DispatchController): [string, string][] {
  if (!Array.isArray(raw)) return []
  return pairsOf(latin1Of(raw.map((each) => (typeof each === 'string' ? Buffer.from(each, 'latin1') : each))))
}

/** Pieces of a head that came at once lie in one memory, and are read as one text: a reading costs more than its bytes. */
function latin1Of(pieces: readonly Buffer[]): string[] {
  const [first] = pieces
  const last = pieces.at(-1)
  if (first === undefined || last === undefined) return []
  const { buffer, byteOffset: start } = first
  const end = last.byteOffset + last.length
  const isIn = (each: Buffer) =>
    each.buffer === buffer && each.byteOffset >= start && each.byteOffset + each.length <= end
  if (!pieces.every(isIn)) return pieces.map((each) => each.toString('latin1'))
  const text = Buffer.from(buffer, start, end - start).toString('latin1')
  return pieces.map(({ byteOffset, length }) => text.slice(byteOffset - start, byteOffset - start + length))
}

function reasonOf(signal: CancelSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error('The request was given up.')
}

function describe(
  cause: Error,
  { name, baseUrl }: HttpUpstreamOptions,
  { signal }: { signal: CancelSignal },
): Error {
  if (signal.aborted) return reasonOf(signal)
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : ''
  if (code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'UND_ERR_HEADERS_TIMEOUT') {
    return new ShadowError(
      'upstream_timeout',
      `The upstream ${name} (${originOf(baseUrl)}) did not answer in time.`,
      {
        hint: 'Try again, or check the upstream.',
        cause,
      },
    )
  }
  if (cause.name === 'HTTPParserError' || /^(?:HPE|UND_ERR_RES|UND_ERR_HEADERS_OVERFLOW)/.test(code)) {
    return new ShadowError(
      'upstream_error',
      `The upstream ${name} (${originOf(baseUrl)}) sent what is no HTTP reply: ${messageOf(cause)}.`,
      { hint: 'Check that its base URL is that of an API.', cause },
    )
  }
  return new ShadowError(
    'upstream_unreachable',
    `The upstream ${name} (${originOf(baseUrl)}) can't be reached: ${code === '' ? messageOf(cause) : code}.`,
    { hint: 'Check that it runs and that SHADOW_UPSTREAM (or --upstream) names it.', cause },
  )
}

/** Without anything that might be secret in a URL. */
function originOf(baseUrl: string): string {
  return new URL(baseUrl).origin
}

function parseBaseUrl(baseUrl: string): URL {
  const url = URL.parse(baseUrl)
  if (url !== null && (url.protocol === 'http:' || url.protocol === 'https:')) return url
  throw new ShadowError('invalid_config', `"${baseUrl}" is no base URL of an upstream.`, {
    hint: 'Give one like https://api.openai.com/v1.',
  })
}
