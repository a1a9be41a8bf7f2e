/**
 * Responses that are made in the background: the request that begins one is answered before there is a reply. What
 * a later `GET /v1/responses/ID` brings is recorded as a call with the same request, beside the one that began it.
 */
import type { UpstreamReply } from '../src/contract/index.ts'
import { responses } from '../src/dialects/index.ts'
import { messageOf, ShadowError } from '../src/lib/error.ts'
import { Capture, credentialOf } from './capture.ts'
import type { ProxyContext } from './context.ts'
import { type Headers, headerOf } from './headers.ts'
import { type Ending, ReplyTap } from './reply-tap.ts'
import type { Target } from './target.ts'
import { taskOf } from './task-of.ts'

const onePath = /^\/responses\/([^/]+)$/

export interface FetchQuestion {
  readonly method: string
  readonly target: Target
  readonly headers: Headers
  readonly reply: UpstreamReply
  readonly servedBy: string
}

/**
 * Null for what is no reply to a request that this proxy has on record.
 * @throws ShadowError not_captured in strict mode when that can't be looked up
 */
export async function fetchedResponse(
  context: ProxyContext,
  question: FetchQuestion,
): Promise<FetchedResponse | null> {
  const { method, target, reply } = question
  const id = onePath.exec(target.path)?.[1]
  if (method !== 'GET' || id === undefined || reply.status !== 200) return null
  try {
    return await responseNamed(context, question, id)
  } catch (error) {
    context.logger.error({ error: messageOf(error) }, 'it can’t be looked up whose response was fetched')
    if (context.capturing !== 'strict') return null
    throw new ShadowError('not_captured', 'Shadow can’t tell whether this response is to be recorded.', {
      hint: 'Check the disk that holds the Shadow home.',
      cause: error,
    })
  }
}

async function responseNamed(
  context: ProxyContext,
  question: FetchQuestion,
  id: string,
): Promise<FetchedResponse | null> {
  const { target, headers } = question
  const named = taskOf(
    {
      fromUrl: target.task,
      fromHeader: headerOf(headers, 'x-task'),
      model: '',
      systemText: () => '',
    },
    context.tasks,
  )
  const credential = target.caller ?? credentialOf(headers)
  // The request that began it may have been recognised by what this one doesn't say.
  const tasks = new Set([named, ...context.tasks.rules().map((rule) => rule.task)])
  const began = await context.store.callNamed({ tasks, credential, id })
  return began === null ? null : new FetchedResponse(context, question, began)
}

/** The call that asked for it. */
interface Began {
  readonly call: string
  readonly task: string
  readonly session: string
}

export class FetchedResponse {
  private readonly context: ProxyContext
  private readonly question: FetchQuestion
  private readonly began: Began
  private readonly tap: ReplyTap
  private readonly startedAt = Date.now()
  private readonly start = performance.now()
  private isOver = false

  constructor(context: ProxyContext, question: FetchQuestion, began: Began) {
    this.context = context
    this.question = question
    this.began = began
    this.tap = new ReplyTap(responses, question.reply.status, question.reply.headers)
  }

  /**
   * Resolves when the chunk may go on: with the last one, once the reply is on record.
   * @throws Error in strict mode when it can't be
   */
  async push(chunk: Uint8Array): Promise<void> {
    await this.tap.push(chunk)
    if (this.tap.isOver) await this.end('terminated')
  }

  /** The same for a body whose end is known only when it comes. */
  async end(ending: Ending = 'ended'): Promise<void> {
    if (this.isOver) return
    this.isOver = true
    const { counts, capturing, logger } = this.context
    try {
      if (await this.record(ending)) counts.captured++
    } catch (error) {
      counts.notCaptured++
      logger.error({ error: messageOf(error) }, 'A RESPONSE THAT WAS FETCHED WAS NOT CAPTURED')
      if (capturing === 'strict') throw error
    }
  }

  /** @returns whether there was anything new to record */
  private async record(ending: Ending): Promise<boolean> {
    const { store, newId } = this.context
    const { target, headers, reply, servedBy } = this.question
    const result = this.tap.result(ending)
    const split = result.body === null ? null : responses.splitReply(result.body)
    if (split === null || split.isPending === true || result.status !== 'complete') return false
    const before = await store.reader.readCall(this.began.call)
    if (before.status === 'complete') return false
    const body = await store.reader.requestBytes(this.began.call)
    const capture = new Capture(this.context, {
      id: newId(),
      task: this.began.task,
      dialect: responses,
      headers,
      caller: target.caller ?? null,
      body,
      split: responses.splitRequest(body),
      startedAt: this.startedAt,
      session: this.began.session,
    })
    const totalMs = performance.now() - this.start
    await capture.commit({
      ...result,
      httpStatus: reply.status,
      servedBy,
      fallback: null,
      firstByteMs: null,
      totalMs,
    })
    return true
  }
}
