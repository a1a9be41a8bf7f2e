/** Follows a reply on the side, while its bytes go to the agent untouched, and says what it was. */
import type { Dialect, SplitReply, StreamAssembler } from '../src/dialects/index.ts'
import { contentDecoder, type Decoder } from './content-decoder.ts'
import { type Headers, headerOf } from './headers.ts'

/** How a reply's body ended. */
export type Ending = 'terminated' | 'ended' | 'cut'

export class ReplyTap {
  private readonly dialect: Dialect
  private readonly ok: boolean
  private readonly decoder: Decoder | null
  private readonly unreadable: string | null = null
  private readonly assembler: StreamAssembler | null
  private readonly chunks: Uint8Array[] = []
  private readonly expectedBytes: number | null
  private receivedBytes = 0
  private decodingError: string | null = null

  constructor(dialect: Dialect, status: number, headers: Headers) {
    this.dialect = dialect
    this.ok = status >= 200 && status < 300
    const type = headerOf(headers, 'content-type') ?? ''
    this.assembler =
      this.ok && type.toLowerCase().startsWith('text/event-stream') ? dialect.assembler() : null
    const encoding = headerOf(headers, 'content-encoding') ?? 'identity'
    this.decoder = contentDecoder(encoding)
    if (this.decoder === null) this.unreadable = `Its content encoding "${encoding}" can't be read.`
    const length = headerOf(headers, 'content-length')
    this.expectedBytes = length === null ? null : Number(length)
  }

  /** Takes a chunk as it came from the upstream; resolves once `isOver` takes it into account. */
  async push(chunk: Uint8Array): Promise<void> {
    this.receivedBytes += chunk.length
    if (this.decoder === null || this.decodingError !== null) return
    try {
      for (const piece of await this.decoder.push(chunk)) {
        if (this.assembler === null) this.chunks.push(piece)
        else this.assembler.push(piece)
      }
    } catch (error) {
      this.decodingError = `Its body can't be decoded: ${error instanceof Error ? error.message : String(error)}.`
    }
  }

  /** Whether, with what came so far, the agent regards the reply as done. */
  get isOver(): boolean {
    if (this.assembler?.terminated === true) return true
    return this.expectedBytes !== null && this.receivedBytes >= this.expectedBytes
  }

  /** The reply's record, given how its body ended. */
  result(ending: Ending) {
    const body = this.assembler === null ? Buffer.concat(this.chunks) : this.assembler.reply()
    const split = body !== null && this.ok ? this.dialect.splitReply(body) : null
    return { status: this.statusOf(ending), body, split, error: this.errorOf(ending, split) }
  }

  private statusOf(ending: Ending): 'complete' | 'truncated' | 'upstream_error' {
    if (!this.ok) return 'upstream_error'
    if (this.assembler !== null) {
      if (this.assembler.error !== null) return 'upstream_error'
      if (this.assembler.terminated) return 'complete'
      // Some servers never send the terminal event, but say why each choice ended.
      return ending !== 'cut' && this.assembler.finished ? 'complete' : 'truncated'
    }
    return ending === 'cut' ? 'truncated' : 'complete'
  }

  private errorOf(ending: Ending, split: SplitReply | null): string | null {
    if (this.unreadable !== null) return this.unreadable
    if (this.decodingError !== null) return this.decodingError
    if (this.assembler !== null && this.assembler.error !== null) return this.assembler.error
    if (!this.ok) return null
    if (ending === 'cut') return 'The upstream cut the reply.'
    if (this.statusOf(ending) === 'truncated') return 'The stream ended before its terminal event.'
    return split === null ? `The body is no reply of the dialect ${this.dialect.name}.` : null
  }
}
