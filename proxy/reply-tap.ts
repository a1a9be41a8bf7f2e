/** Follows a reply on the side, while its bytes go to the agent untouched, and says what it was. */
import type { Dialect, StreamAssembler } from '../src/dialects/index.ts'
import { messageOf } from '../src/lib/error.ts'
import { contentDecoder, type Decoder } from './content-decoder.ts'
import { type Headers, headerOf } from './headers.ts'
import { TextWatch } from './text-watch.ts'

/** How a reply's body ended. */
export type Ending = 'terminated' | 'ended' | 'cut'

type EndStatus = 'complete' | 'truncated' | 'upstream_error'

export class ReplyTap {
  private readonly ok: boolean
  private readonly decoder: Decoder | null
  private readonly unreadable: string | null = null
  private readonly assembler: StreamAssembler | null
  private readonly chunks: Uint8Array[] = []
  private readonly expectedBytes: number | null
  private receivedBytes = 0
  private decodingError: string | null = null
  private readonly later: Uint8Array[] = []
  private readonly watch: TextWatch | null
  private isNearEnd = false

  constructor(dialect: Dialect, status: number, headers: Headers) {
    this.ok = status >= 200 && status < 300
    const type = headerOf(headers, 'content-type') ?? ''
    this.assembler =
      this.ok && type.toLowerCase().startsWith('text/event-stream') ? dialect.assembler() : null
    const encoding = headerOf(headers, 'content-encoding') ?? 'identity'
    this.decoder = contentDecoder(encoding)
    if (this.decoder === null) this.unreadable = `Its content encoding "${encoding}" can't be read.`
    const isPlain = encoding.trim().toLowerCase() === 'identity'
    this.watch = this.assembler !== null && isPlain ? new TextWatch(this.assembler.terminalMarks) : null
    const length = headerOf(headers, 'content-length')
    this.expectedBytes = length === null ? null : Number(length)
  }

  /** Whether it is a stream of events whose bytes aren't encoded. */
  get isPlainStream(): boolean {
    return this.watch !== null
  }

  /**
   * Whether the reply goes on after this chunk, so that it may be passed on before it is looked at. Asked once
   * for each chunk, in order.
   */
  goesOnAfter(chunk: Uint8Array): boolean {
    if (this.watch === null || this.expectedBytes !== null) return false
    // A terminal event that holds all of the reply comes in many chunks, of which the last is the end.
    this.isNearEnd ||= this.watch.sees(chunk)
    return !this.isNearEnd
  }

  /** Takes a chunk that `goesOnAfter` said so of, to look at it when the agent has got what came with it. */
  pushLater(chunk: Uint8Array): void {
    if (this.later.length === 0) setImmediate(() => this.catchUp())
    this.later.push(chunk)
  }

  /** Takes a chunk as it came from the upstream; `isOver` takes it into account at once, or when this resolves. */
  push(chunk: Uint8Array): void | Promise<void> {
    this.catchUp()
    return this.take(chunk)
  }

  private catchUp(): void {
    // What is looked at later is not encoded, and so is taken at once.
    for (const chunk of this.later.splice(0)) void this.take(chunk)
  }

  private take(chunk: Uint8Array): void | Promise<void> {
    this.receivedBytes += chunk.length
    if (this.decoder === null || this.decodingError !== null) return
    try {
      const pieces = this.decoder.push(chunk)
      if (!(pieces instanceof Promise)) this.follow(pieces)
      else
        return pieces.then(
          (decoded) => this.follow(decoded),
          (error) => this.cannotDecode(error),
        )
    } catch (error) {
      this.cannotDecode(error)
    }
  }

  private follow(pieces: readonly Uint8Array[]): void {
    for (const piece of pieces) {
      if (this.assembler === null) this.chunks.push(piece)
      else this.assembler.push(piece)
    }
  }

  private cannotDecode(error: unknown): void {
    this.decodingError = `Its body can't be decoded: ${messageOf(error)}.`
  }

  /** Whether, with what came so far, the agent regards the reply as done. */
  get isOver(): boolean {
    return this.assembler?.terminated === true || this.isWhole
  }

  /** Whether as many bytes have come as the head said. */
  get isWhole(): boolean {
    return this.expectedBytes !== null && this.receivedBytes >= this.expectedBytes
  }

  /** The reply's record, given how its body ended. */
  result(ending: Ending): { status: EndStatus; body: Uint8Array | null; error: string | null } {
    this.catchUp()
    const body = this.assembler === null ? wholeOf(this.chunks) : this.assembler.reply()
    return { status: this.statusOf(ending), body, error: this.errorOf(ending) }
  }

  private statusOf(ending: Ending): EndStatus {
    if (!this.ok) return 'upstream_error'
    if (this.assembler !== null) {
      if (this.assembler.error !== null) return 'upstream_error'
      if (this.assembler.terminated) return 'complete'
      // Some servers never send the terminal event, but say why each choice ended.
      return ending !== 'cut' && this.assembler.finished ? 'complete' : 'truncated'
    }
    return ending === 'cut' ? 'truncated' : 'complete'
  }

  private errorOf(ending: Ending): string | null {
    if (this.unreadable !== null) return this.unreadable
    if (this.decodingError !== null) return this.decodingError
    if (this.assembler !== null && this.assembler.error !== null) return this.assembler.error
    if (!this.ok) return null
    if (ending === 'cut') return 'The upstream cut the reply.'
    return this.statusOf(ending) === 'truncated' ? 'The stream ended before its terminal event.' : null
  }
}

function wholeOf(chunks: readonly Uint8Array[]): Uint8Array {
  const [first, ...others] = chunks
  return first !== undefined && others.length === 0 ? first : Buffer.concat(chunks)
}
