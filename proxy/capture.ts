/** The record of one call, from its request to its commit. */
import type { CallStatus } from '../src/contract/index.ts'
import type { CanonicalWalk, Dialect, SplitReply, SplitRequest } from '../src/dialects/index.ts'
import { type Slice, sliceOf } from '../src/lib/json-slices.ts'
import type {
  BaseReply,
  Placement,
  Prompt,
  PromptMessage,
  RecordedReply,
} from '../src/store/capture/index.ts'
import type { Fallback } from './answer.ts'
import type { ProxyContext } from './context.ts'
import { type Headers, headerOf } from './headers.ts'
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
  private readonly walk: CanonicalWalk
  private readonly tools: Slice | null

  constructor(context: ProxyContext, request: CapturedRequest) {
    const { dialect, split, body, headers } = request
    this.context = context
    this.request = request
    this.walk = dialect.walk()
    const credential = this.request.caller ?? credentialOf(headers)
    const identity = identityOf(headers, split)
    const base = this.baseOf(credential, identity.session)
    this.tools = base === null ? split.tools : null
    const tools = this.tools === null ? null : sliceOf(body, this.tools)
    this.prompt = context.store.prompt({
      dialect: dialect.name,
      base,
      tools,
      canonicalTools: () => dialect.canonicalTools(tools),
      messages: split.messages.map((slice) => {
        const message = promptMessage(this.walk, sliceOf(body, slice))
        return base === null ? message : { ...message, isRoot: false }
      }),
    })
    this.placement = context.store.place({
      callId: request.id,
      task: request.task,
      credential,
      sessionHeader: identity.session,
      agent: identity.agent,
      parentAgent: identity.parentAgent,
      base,
      prompt: this.prompt,
      at: request.startedAt,
    })
  }

  /** What came before, where the upstream keeps the conversation and this proxy saw it. */
  private baseOf(credential: string | null, session: string | null): BaseReply | null {
    const { store } = this.context
    const { task, split } = this.request
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
      reply: this.replyOf(outcome),
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
      error: fallback === null ? outcome.error : [fallback.reason, outcome.error].filter(Boolean).join('; '),
    })
  }

  private replyOf({ body, split }: Outcome): RecordedReply | null {
    if (body === null) return null
    const choices = (split?.choices ?? []).map(({ index, message, finishReason }) => ({
      index,
      slice: message,
      finishReason,
      message: promptMessage(this.walk.fork(), sliceOf(body, message)),
    }))
    return { body, choices }
  }
}

function promptMessage(walk: CanonicalWalk, bytes: Uint8Array): PromptMessage {
  const { text, ...place } = walk.message(bytes)
  return { bytes, canonicalText: text, ...place }
}

/** What tells one agent's calls from another's. */
function credentialOf(headers: Headers): string | null {
  return headerOf(headers, 'authorization') ?? headerOf(headers, 'api-key') ?? headerOf(headers, 'x-api-key')
}
