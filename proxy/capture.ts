/** The record of one call, from its request to its commit. */
import type { CallStatus } from '../src/contract/index.ts'
import type { Dialect, SplitReply, SplitRequest } from '../src/dialects/index.ts'
import { type Slice, sliceOf } from '../src/lib/json-slices.ts'
import {
  type BaseReply,
  type Placement,
  type Prompt,
  type RecordedReply,
  replyTo,
} from '../src/store/capture/index.ts'
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
  readonly split: SplitReply | null
  readonly error: string | null
  readonly firstByteMs: number | null
  readonly totalMs: number
}

export class Capture {
  readonly placement: Placement
  private readonly context: ProxyContext
  private readonly request: CapturedRequest
  private readonly prompt: Prompt
  private readonly tools: Slice | null
  private readonly redaction: Redaction

  constructor(context: ProxyContext, request: CapturedRequest) {
    const { dialect, headers } = request
    this.context = context
    this.redaction = new Redaction(context.redaction.redactorOf(request.task))
    this.request = this.redaction.request(request)
    const credential = this.request.caller ?? credentialOf(headers)
    // Names are looked up as they came and kept without what is taken out.
    const identity = identityOf(headers, request.split)
    const base = this.baseOf(request.split, credential, identity.session)
    const { split, body } = this.request
    this.tools = base === null ? split.tools : null
    this.prompt = context.store.prompt({
      dialect,
      base,
      tools: this.tools === null ? null : sliceOf(body, this.tools),
      messages: split.messages.map((slice) => sliceOf(body, slice)),
    })
    this.placement = context.store.place({
      callId: request.id,
      task: request.task,
      credential,
      sessionHeader: identity.session,
      label: this.redaction.text(identity.session),
      agent: this.redaction.text(identity.agent),
      parentAgent: this.redaction.text(identity.parentAgent),
      base,
      prompt: this.prompt,
      session: request.session ?? null,
      at: request.startedAt,
    })
  }

  /** What came before, where the upstream keeps the conversation and this proxy saw it. */
  private baseOf(split: SplitRequest, credential: string | null, session: string | null): BaseReply | null {
    const { store } = this.context
    const { task } = this.request
    if (split.previousReply !== null) {
      return store.baseOf({ task, credential, from: { reply: split.previousReply } })
    }
    if (split.conversation === null) return null
    return store.baseOf({ task, credential, from: { conversation: session ?? split.conversation } })
  }

  /** Resolves once the call is on record. */
  commit(outcome: Outcome): Promise<void> {
    const { id, body, split, startedAt } = this.request
    const { status, httpStatus, servedBy, fallback, firstByteMs, totalMs } = outcome
    const reply = this.replyOf(this.redaction.reply(this.request, outcome))
    const error =
      fallback === null ? outcome.error : [fallback.reason, outcome.error].filter(Boolean).join('; ')
    const said = this.redaction.text(error)
    return this.context.store.record({
      id,
      placement: this.placement,
      prompt: this.prompt,
      request: {
        body,
        messages: split.messages,
        tools: this.tools,
        // The tools of a conversation that goes on are at its root; these stay with the call.
        others:
          this.tools === split.tools || split.tools === null ? split.others : [...split.others, split.tools],
      },
      reply,
      startedAt,
      status,
      httpStatus,
      stream: split.stream,
      modelAsked: split.modelName,
      modelAnswered: outcome.split?.model ?? null,
      replyId: outcome.split?.id ?? null,
      servedBy,
      fallbackFrom: fallback?.version ?? null,
      usage: outcome.split?.usage ?? null,
      timings: { firstByteMs, totalMs },
      error: said,
      redacted: this.redaction.found,
    })
  }

  private replyOf({ body, split }: Pick<Outcome, 'body' | 'split'>): RecordedReply | null {
    if (body === null) return null
    const choices = (split?.choices ?? []).map(({ index, message, finishReason }) => ({
      index,
      slice: message,
      finishReason,
      message: replyTo(this.prompt, sliceOf(body, message)),
    }))
    return { body, choices }
  }
}

/** What tells one agent's calls from another's. */
export function credentialOf(headers: Headers): string | null {
  return headerOf(headers, 'authorization') ?? headerOf(headers, 'api-key') ?? headerOf(headers, 'x-api-key')
}
