/**
 * One captured call: the request goes up as it came, the reply comes down as it came, and its end is held
 * until the call is on record.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setImmediate } from 'node:timers/promises'
import type { Dialect, SplitRequest } from '../src/dialects/index.ts'
import { messageOf, ShadowError } from '../src/lib/error.ts'
import { type Answer, answerOf, intendedAnswerer } from './answer.ts'
import { Capture, type CapturedRequest, type Outcome } from './capture.ts'
import type { ProxyContext } from './context.ts'
import { Departure } from './departure.ts'
import { endToEnd, type Headers, headerOf, pairsOf, without } from './headers.ts'
import { UsageFilter } from './hidden-usage.ts'
import { handlePassThrough } from './pass-through.ts'
import { type Ending, ReplyTap } from './reply-tap.ts'
import { ReplyWriter, sendError } from './reply-writer.ts'
import { plainBody, readBody } from './request-body.ts'
import type { Target } from './target.ts'
import { taskOf } from './task-of.ts'

/** Bytes of a request beyond which what is to be taken out of it is looked for while the upstream works. */
const shortBytes = 8 * 1024

export async function handleCapturedCall(
  context: ProxyContext,
  dialect: Dialect,
  target: Target,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const startedAt = Date.now()
  const start = performance.now()
  const { limits, tasks, capturing } = context
  const sent = await readBody(req, limits.requestBytes)
  // The agent left before its request was whole: there is nothing to answer and nothing to record.
  if (sent === null) return
  const headers = endToEnd(pairsOf(req.rawHeaders), 'expect')
  let body: Buffer
  let split: SplitRequest
  try {
    const encoding = headerOf(headers, 'content-encoding')
    body = encoding === null ? sent : await plainBody(sent, encoding, limits.requestBytes)
    split = dialect.splitRequest(body)
  } catch (error) {
    if (!(error instanceof ShadowError)) throw error
    // What it means is for the upstream to say; only what is to be refused where it can't be recorded ends here.
    if (capturing === 'strict') sendError(res, error)
    else await handlePassThrough(context, target, req, res, { body: sent, reason: error.message })
    return
  }
  let task: string
  try {
    task = taskOf(
      {
        fromUrl: target.task,
        fromHeader: headerOf(headers, 'x-task'),
        model: split.modelName,
        systemText: () => split.systemText(),
      },
      tasks,
    )
  } catch (error) {
    if (!(error instanceof ShadowError)) throw error
    sendError(res, error)
    return
  }
  const { caller = null } = target
  const id = context.newId()
  const request = { id, task, dialect, headers, sent, body, split, startedAt, caller }
  await new CapturedCall(context, request, start).run(target, res)
}

interface SentRequest extends CapturedRequest {
  /** The body as it came, which may be encoded. */
  readonly sent: Uint8Array
}

const nothingCame = {
  status: 'refused',
  httpStatus: 503,
  body: null,
  error: null,
  firstByteMs: null,
} as const

class CapturedCall {
  private readonly context: ProxyContext
  private readonly request: SentRequest
  private readonly start: number
  private capture: Capture | null = null
  private answer: Answer | null = null
  private tap: ReplyTap | null = null
  private firstByteMs: number | null = null
  private isCommitted = false
  private isLost = false

  constructor(context: ProxyContext, request: SentRequest, start: number) {
    this.context = context
    this.request = request
    this.start = start
  }

  async run(target: Target, res: ServerResponse): Promise<void> {
    const { task, dialect, headers, sent, body, split } = this.request
    const { path, query } = target
    const agent = new Departure(res)
    if (this.context.capturing === 'strict' && !(await this.mayGoUp(res))) return
    if (body.length <= shortBytes) this.capture ??= this.begin()
    const asked = answerOf(this.context, {
      task,
      dialect,
      path,
      query,
      headers,
      sent,
      body,
      split,
      signal: agent,
    })
    // A failure is dealt with below; until then it isn't an unhandled one.
    asked.catch(() => {})
    // The request goes out at the end of this turn; a long one is looked through while the upstream works.
    if (body.length > shortBytes) {
      await setImmediate()
      this.capture ??= this.begin()
    }
    try {
      this.answer = await asked
    } catch (error) {
      await this.failed(error, res, agent)
      return
    }
    await this.relay(this.answer, res, agent)
  }

  /** In strict mode a call goes to an upstream only when there is a place for it in the store. */
  private async mayGoUp(res: ServerResponse): Promise<boolean> {
    const { store, counts, logger } = this.context
    try {
      this.capture = new Capture(this.context, this.request)
      await store.admit(this.request.body.length)
      return true
    } catch (error) {
      counts.refused++
      logger.error({ call: this.request.id, error: messageOf(error) }, 'A CALL WAS REFUSED: no place for it')
      await this.capture
        ?.commit({ ...nothingCame, servedBy: 'shadow', fallback: null, totalMs: this.elapsed() })
        .catch(() => {})
      sendError(
        res,
        new ShadowError('not_captured', 'Shadow can’t record this call, and is set to refuse such calls.', {
          hint: 'Check the disk that holds the Shadow home, or start `shadow serve` with --capture available.',
        }),
        [['x-shadow-call', this.request.id]],
      )
      return false
    }
  }

  /** Whether the agent must not see the end of a reply, because it isn't on record. */
  private get isWithheld(): boolean {
    return this.isLost && this.context.capturing === 'strict'
  }

  private begin(): Capture | null {
    try {
      return new Capture(this.context, this.request)
    } catch (error) {
      this.notCaptured(error)
      return null
    }
  }

  private async relay({ reply, hidesUsage }: Answer, res: ServerResponse, agent: Departure): Promise<void> {
    const tap = new ReplyTap(this.request.dialect, reply.status, reply.headers)
    this.tap = tap
    const filter = hidesUsage && tap.isPlainStream ? new UsageFilter() : null
    const writer = new ReplyWriter(res)
    // What is taken out makes the body shorter than the upstream said.
    const kept = filter === null ? reply.headers : without(reply.headers, 'content-length')
    writer.head(reply, [...endToEnd(kept), ...this.ownHeaders()])
    try {
      for await (const chunk of reply.body) {
        this.firstByteMs ??= this.elapsed()
        if (tap.goesOnAfter(chunk)) {
          const written = writer.write(filter?.push(chunk) ?? chunk)
          if (written !== undefined) await written
          tap.pushLater(chunk)
        } else {
          writer.holdHead()
          const taken = tap.push(chunk)
          if (taken !== undefined) await taken
          if (tap.isOver) await this.commit('terminated')
          if (this.isWithheld) break
          if (tap.isWhole && filter === null) writer.end(chunk)
          else {
            const written = writer.write(filter?.push(chunk) ?? chunk)
            if (written !== undefined) await written
          }
        }
        if (agent.aborted) break
      }
    } catch (error) {
      await this.commit(agent.aborted ? 'aborted' : 'cut')
      if (!agent.aborted)
        this.context.logger.warn({ call: this.request.id, error: messageOf(error) }, 'reply was cut')
      writer.cut()
      return
    }
    await this.commit(agent.aborted ? 'aborted' : 'ended')
    if (this.isWithheld) {
      writer.cut()
      return
    }
    if (filter !== null) await writer.write(filter.rest())
    writer.end()
  }

  /** Nobody answered. */
  private async failed(thrown: unknown, res: ServerResponse, agent: Departure): Promise<void> {
    const error =
      thrown instanceof ShadowError
        ? thrown
        : new ShadowError('internal', `The call failed: ${messageOf(thrown)}.`, { cause: thrown })
    await this.record({
      status: agent.aborted ? 'aborted' : 'upstream_error',
      httpStatus: null,
      body: null,
      error: agent.aborted ? null : error.message,
    })
    if (!agent.aborted) {
      this.context.logger.warn({ call: this.request.id, error: error.message }, 'no upstream answered')
    }
    sendError(res, error, this.ownHeaders())
  }

  private commit(ending: Ending | 'aborted'): Promise<void> | void {
    if (this.isCommitted || this.tap === null || this.answer === null) return
    const { status, ...result } = this.tap.result(ending === 'aborted' ? 'cut' : ending)
    return this.record({
      ...result,
      status: ending === 'aborted' && status !== 'complete' ? 'aborted' : status,
      httpStatus: this.answer.reply.status,
      ...(ending === 'aborted' ? { error: null } : {}),
    })
  }

  private async record(outcome: Pick<Outcome, 'status' | 'httpStatus' | 'body' | 'error'>): Promise<void> {
    this.isCommitted = true
    if (this.capture === null) return
    try {
      await this.capture.commit({
        ...outcome,
        servedBy: this.servedBy(),
        fallback: this.answer?.fallback ?? null,
        firstByteMs: this.firstByteMs,
        totalMs: this.elapsed(),
      })
      this.context.counts.captured++
    } catch (error) {
      this.notCaptured(error)
    }
  }

  private notCaptured(error: unknown): void {
    const { counts, logger } = this.context
    this.isLost = true
    if (this.context.capturing === 'strict') counts.refused++
    counts.notCaptured++
    logger.error(
      { call: this.request.id, notCaptured: counts.notCaptured, error: messageOf(error) },
      'A CALL WAS NOT CAPTURED; the agent is served all the same',
    )
  }

  private ownHeaders(): Headers {
    const { notCaptured } = this.context.counts
    return [
      ['x-shadow-call', this.request.id],
      ['x-shadow-served-by', this.servedBy()],
      ...(notCaptured === 0 ? [] : [['x-shadow-not-captured', String(notCaptured)] as const]),
    ]
  }

  private servedBy(): string {
    return this.answer?.servedBy ?? intendedAnswerer(this.context, this.request)
  }

  private elapsed(): number {
    return performance.now() - this.start
  }
}
