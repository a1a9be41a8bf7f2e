/** The record of one call, from its request to its commit. */
import type { CallStatus } from '../src/contract/index.ts'
import type { Dialect, SplitRequest } from '../src/dialects/index.ts'
import type { Origin } from '../src/store/capture/index.ts'
import type { Fallback } from './answer.ts'
import type { ProxyContext } from './context.ts'
import { type Headers, headerOf } from './headers.ts'
import { Redaction } from './redacted.ts'
import { identityOf } from './session-of.ts'

export interface CapturedRequest {
  readonly id: string
  readonly task: string
  readonly dialect: Dialect
  readonly headers: Headers
  /** What stands for the agent in the place of its credential; null where there is nothing. */
  readonly caller: string | null
  readonly body: Uint8Array
  readonly split: SplitRequest
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  /** Where it is known already; else what the request says decides. */
  readonly session?: string
}

/** What came of a call. */
export interface Outcome {
  readonly status: CallStatus
  readonly httpStatus: number | null
  readonly servedBy: string
  readonly fallback: Fallback | null
  readonly body: Uint8Array | null
  readonly error: string | null
  readonly firstByteMs: number | null
  readonly totalMs: number
}

export class Capture {
  private readonly context: ProxyContext
  private readonly request: CapturedRequest
  private readonly origin: Origin
  private readonly redaction: Redaction

  constructor(context: ProxyContext, request: CapturedRequest) {
    this.context = context
    this.redaction = new Redaction(context.redaction.redactorOf(request.task))
    this.request = this.redaction.request(request)
    this.origin = this.originOf(request)
  }

  /** Names are looked up as they came and kept without what is taken out. */
  private originOf({ task, caller, headers, split, session: known }: CapturedRequest): Origin {
    const { session, agent, parentAgent } = identityOf(headers, split)
    const { conversation } = split
    // Looked up in what is kept of the replies.
    const { previousReply } = this.request.split
    return {
      task,
      credential: caller ?? credentialOf(headers),
      sessionName: session,
      label: this.redaction.text(session),
      agent: this.redaction.text(agent),
      parentAgent: this.redaction.text(parentAgent),
      goesOnFrom:
        previousReply !== null
          ? { reply: previousReply }
          : conversation !== null
            ? { conversation: session ?? conversation }
            : null,
      known: known === undefined ? null : { session: known },
    }
  }

  /** Resolves once the call is on record. */
  commit({ fallback, body: reply, firstByteMs, totalMs, ...outcome }: Outcome): Promise<void> {
    const { id, dialect, body, split, startedAt } = this.request
    const error =
      fallback === null ? outcome.error : [fallback.reason, outcome.error].filter(Boolean).join('; ')
    return this.context.store.record({
      ...outcome,
      id,
      dialect: dialect.name,
      origin: this.origin,
      request: { body, messages: split.messages, tools: split.tools, others: split.others },
      reply: this.redaction.body(reply),
      startedAt,
      stream: split.stream,
      modelAsked: split.modelName,
      fallbackFrom: fallback?.version ?? null,
      timings: { firstByteMs, totalMs },
      error: this.redaction.text(error),
      redacted: this.redaction.found,
    })
  }
}

/** What tells one agent's calls from another's. */
export function credentialOf(headers: Headers): string | null {
  return headerOf(headers, 'authorization') ?? headerOf(headers, 'api-key') ?? headerOf(headers, 'x-api-key')
}
