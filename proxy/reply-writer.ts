/** Sends a reply to the agent: the head as it came, the chunks as they came, no faster than they are taken. */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { UpstreamReply } from '../src/contract/index.ts'
import type { ShadowError } from '../src/lib/error.ts'
import { asBuffer } from '../src/lib/json-slices.ts'
import { flatOf, type Headers } from './headers.ts'

const nothing = Buffer.alloc(0)

/** Bytes of a body's end up to which it is copied rather than written beside the head. */
const shortBytes = 16 * 1024

export class ReplyWriter {
  private readonly res: ServerResponse
  /** Whether something of the body was sent, or will be soon. */
  private bodyComes = false

  constructor(res: ServerResponse) {
    this.res = res
    // The upstream's own date is passed on.
    res.sendDate = false
  }

  head({ status, statusText }: Pick<UpstreamReply, 'status' | 'statusText'>, headers: Headers): void {
    if (statusText === undefined) this.res.writeHead(status, flatOf(headers))
    else this.res.writeHead(status, statusText, flatOf(headers))
    // A head that comes alone is sent alone, but one whose body came with it shares its packet. An empty
    // write is used because flushHeaders() would write header bytes above 0x7f as UTF-8.
    setImmediate(() => {
      if (!this.bodyComes && !this.res.writableEnded && !this.res.destroyed) this.res.write(nothing)
    })
  }

  /** The head goes with what is written next, which is there but has to wait for something. */
  holdHead(): void {
    this.bodyComes = true
  }

  /** More may be sent at once, or when this resolves. */
  write(chunk: Uint8Array): Promise<void> | void {
    // An empty chunk would end the body where it is chunked.
    if (chunk.length === 0) return
    this.bodyComes = true
    if (!this.res.destroyed && !this.res.write(chunk)) return this.drained()
  }

  private async drained(): Promise<void> {
    // A socket that closes while it is full never drains.
    const gone = new AbortController()
    try {
      await Promise.race([
        once(this.res, 'drain', { signal: gone.signal }),
        once(this.res, 'close', { signal: gone.signal }),
      ])
    } finally {
      gone.abort()
    }
  }

  /** Nothing follows. @param last the rest of the body, where there is any */
  end(last: Uint8Array | null = null): void {
    this.bodyComes = true
    if (this.res.destroyed || this.res.writableEnded) return
    if (last === null || last.length === 0) this.res.end()
    // Node joins a text to the head and writes both at once, where bytes would be a piece of their own.
    else if (last.length <= shortBytes) this.res.end(asBuffer(last).toString('latin1'), 'latin1')
    else this.res.end(last)
  }

  /** The reply was cut on its way here, and is cut for the agent too. */
  cut(): void {
    this.res.destroy()
  }
}

/** An error of Shadow's own, in the shape that OpenAI's clients read. */
export function sendError(res: ServerResponse, error: ShadowError, headers: Headers = []): void {
  if (res.headersSent || res.destroyed) {
    res.destroy()
    return
  }
  const body = Buffer.from(JSON.stringify(error.toOpenAI()))
  res.writeHead(
    error.httpStatus,
    flatOf([['content-type', 'application/json'], ['content-length', String(body.length)], ...headers]),
  )
  res.end(body)
}
