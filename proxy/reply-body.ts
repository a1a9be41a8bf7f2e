/** A reply's body in the chunks in which it came, with back-pressure: reading stops where the consumer lags. */

/** Bytes that may wait before reading stops. */
const highWaterBytes = 256 * 1024

/** What steers the source: the part of undici's controller that is needed here. */
export interface Source {
  pause(): void
  resume(): void
  abort(reason: Error): void
}

export class ReplyBody implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array> {
  private readonly source: Source
  private readonly chunks: Uint8Array[] = []
  private waitingBytes = 0
  private paused = false
  private ended = false
  private failure: Error | null = null
  private wake: (() => void) | null = null

  constructor(source: Source) {
    this.source = source
  }

  push(chunk: Uint8Array): void {
    this.chunks.push(chunk)
    this.waitingBytes += chunk.length
    if (this.waitingBytes > highWaterBytes && !this.paused) {
      this.paused = true
      this.source.pause()
    }
    this.wakeUp()
  }

  end(): void {
    this.ended = true
    this.wakeUp()
  }

  /** What came before is still delivered. */
  fail(error: Error): void {
    this.failure = error
    this.wakeUp()
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    const chunk = this.chunks.shift()
    if (chunk !== undefined) {
      this.waitingBytes -= chunk.length
      if (this.paused && this.waitingBytes <= highWaterBytes / 2) {
        this.paused = false
        this.source.resume()
      }
      return Promise.resolve({ done: false, value: chunk })
    }
    if (this.failure !== null) return Promise.reject(this.failure)
    if (this.ended) return Promise.resolve({ done: true, value: undefined })
    return new Promise<void>((resolve) => {
      this.wake = resolve
    }).then(() => this.next())
  }

  /** The consumer wants no more: the upstream is told so at once. */
  async return(): Promise<IteratorResult<Uint8Array>> {
    if (!this.ended && this.failure === null)
      this.source.abort(new Error('The rest of the reply is not wanted.'))
    return { done: true, value: undefined }
  }

  private wakeUp(): void {
    const { wake } = this
    this.wake = null
    wake?.()
  }
}
