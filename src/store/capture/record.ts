/** What the proxy hands the store for one call. */
import type { CallStatus, CallTimings, RedactedCounts, Usage } from '../../contract/index.ts'
import type { Slice } from '../../lib/json-slices.ts'
import type { PromptMessage } from './known-prefixes.ts'
import type { Prompt } from './prompt.ts'

/** Where a call belongs, found when its request has come. */
export interface Placement {
  readonly task: string
  /** Keyed hash of what the agent proved itself with; empty for an anonymous one. */
  readonly keyHash: Buffer
  readonly session: string
  /** The value of the session header, where the session goes by one. */
  readonly label: string | null
  /** The call that this one continues, and the canonical node of the reply it goes on from. */
  readonly parent: { readonly call: string; readonly node: Buffer } | null
  /** The call of the session that this one goes on from with a history that was rewritten; null where it wasn't. */
  readonly continues?: string | null
  /** Which of the run's agents called, and which one started it, where the agent says so. */
  readonly agent?: string | null
  readonly parentAgent?: string | null
}

/** An earlier reply whose conversation the upstream keeps, so that a request holds only what follows it. */
export interface BaseReply {
  readonly call: string
  readonly session: string
  /** Raw and canonical node of the reply. */
  readonly raw: Buffer
  readonly node: Buffer
}

export interface RecordedRequest {
  readonly body: Uint8Array
  readonly messages: readonly Slice[]
  readonly tools: Slice | null
  /** Other top-level values; large ones are stored as parts. */
  readonly others: readonly Slice[]
}

export interface RecordedReply {
  /** The body as it came, or, of a streamed reply, as the same dialect sends it unstreamed. */
  readonly body: Uint8Array
  readonly choices: readonly {
    readonly index: number
    readonly slice: Slice
    readonly finishReason: string | null
    readonly message: PromptMessage
  }[]
}

/** What is known of a call beside its bytes. */
export interface CallFacts {
  readonly id: string
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  readonly status: CallStatus
  readonly httpStatus: number | null
  readonly stream: boolean
  readonly modelAsked: string
  readonly modelAnswered: string | null
  readonly servedBy: string
  readonly fallbackFrom: string | null
  readonly usage: Usage | null
  readonly timings: CallTimings
  readonly error: string | null
  /** What was taken out of it; null where nothing was. */
  readonly redacted?: RedactedCounts | null
  /** By what a later request may name the reply. */
  readonly replyId?: string | null
}

export interface CallRecord extends CallFacts {
  readonly placement: Placement
  readonly prompt: Prompt
  readonly request: RecordedRequest
  readonly reply: RecordedReply | null
}
