/** What the proxy hands the store for one call. */
import type { CallStatus, CallTimings, RedactedCounts, Usage } from '../../contract/index.ts'
import type { Slice } from '../../lib/json-slices.ts'

/** Whose call it is, and what it says itself of where it belongs; the rest is found when it comes into the tables. */
export interface Origin {
  readonly task: string
  /** What the agent proved itself with; null for nothing. Only its keyed hash is kept. */
  readonly credential: string | null
  /** What the agent calls the session; null where nothing names it. */
  readonly sessionName: string | null
  /** What is kept of the name, where that is less than all. */
  readonly label?: string | null
  /** Which of the run's agents called, and which one started it, where the agent says so. */
  readonly agent?: string | null
  readonly parentAgent?: string | null
  /** Which conversation the upstream is asked to go on with; null where the request holds all of it. */
  readonly goesOnFrom?: ConversationName | null
  /** What is known of its place already, and isn't looked for. */
  readonly known?: KnownPlace | null
}

/** A conversation that an upstream keeps: by the id of its last reply, or by its own name, which is then the session's. */
export type ConversationName = { readonly reply: string } | { readonly conversation: string }

export interface KnownPlace {
  readonly session: string
  /** The call that it continues and the one whose history it rewrote; left out where that is to be looked for. */
  readonly edges?: { readonly parent: string | null; readonly continues: string | null }
}

/** An earlier reply whose conversation the upstream keeps, so that a request holds only what follows it. */
export interface BaseReply {
  readonly call: string
  readonly session: string
  /** Raw and canonical node of the reply. */
  readonly raw: Buffer
  readonly node: Buffer
}

/** Where a call belongs. */
export interface Placement {
  readonly session: string
  /** The call that this one continues, and the canonical node of the reply it goes on from. */
  readonly parent: { readonly call: string; readonly node: Buffer } | null
  /** The call of the session that this one goes on from with a history that was rewritten; null where it wasn't. */
  readonly continues: string | null
}

export interface RecordedRequest {
  readonly body: Uint8Array
  readonly messages: readonly Slice[]
  readonly tools: Slice | null
  /** Other top-level values; large ones are stored as parts. */
  readonly others: readonly Slice[]
}

/** What is known of a call beside its bytes. */
export interface CallFacts {
  readonly id: string
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  /** A reply that says itself that it is only being made makes of `complete` a `truncated`. */
  readonly status: CallStatus
  readonly httpStatus: number | null
  readonly stream: boolean
  readonly modelAsked: string
  readonly servedBy: string
  readonly fallbackFrom: string | null
  readonly timings: CallTimings
  readonly error: string | null
  /** What was taken out of it; null where nothing was. */
  readonly redacted?: RedactedCounts | null
  /** What the reply says of itself, where that is known better than from its bytes. */
  readonly answer?: { readonly model: string | null; readonly usage: Usage | null } | null
}

export interface CallRecord extends CallFacts {
  /** Name of the dialect. */
  readonly dialect: string
  readonly origin: Origin
  readonly request: RecordedRequest
  /** The body as it came, or, of a streamed reply, as the same dialect sends it unstreamed; null where none came. */
  readonly reply: Uint8Array | null
}
