/**
 * Who answers a call: the frontier, or the owned model where the task's route or the request says so. As long
 * as the owned model has sent no byte, whatever fails in it is answered by the frontier in the same request.
 */
import type { CancelSignal, Upstream, UpstreamReply } from '../src/contract/index.ts'
import { versionName } from '../src/contract/index.ts'
import type { Dialect, SplitRequest } from '../src/dialects/index.ts'
import { messageOf, ShadowError } from '../src/lib/error.ts'
import type { ProxyContext } from './context.ts'
import { type Headers, without } from './headers.ts'
import { bodyAskingUsage } from './hidden-usage.ts'
import { chooseUpstream, unknownUpstream } from './upstream-choice.ts'

export interface Answer {
  readonly reply: UpstreamReply
  /** The frontier's name, or the owned version. */
  readonly servedBy: string
  readonly fallback: Fallback | null
  /** Whether the reply brings token counts that the agent didn't ask for. */
  readonly hidesUsage: boolean
}

/** The owned version that was asked first, and why the frontier answered in its place. */
export interface Fallback {
  readonly version: string
  readonly reason: string
}

export interface Question {
  readonly task: string
  readonly dialect: Pick<Dialect, 'name'>
  readonly path: string
  readonly query: string
  readonly headers: Headers
  /** As it came. */
  readonly sent: Uint8Array
  /** The same with any content encoding undone. */
  readonly body: Uint8Array
  readonly split: SplitRequest
  readonly signal: CancelSignal
}

/** Who will answer if nothing fails. */
export function intendedAnswerer(context: ProxyContext, question: ChoiceQuestion): string {
  return ownedVersion(context, question)?.version ?? frontierFor(context, question).name
}

type ChoiceQuestion = Pick<Question, 'task' | 'dialect' | 'split' | 'headers'>

function frontierFor(context: ProxyContext, { task, dialect, split, headers }: ChoiceQuestion) {
  return chooseUpstream(context, { task, dialect: dialect.name, modelName: split.modelName, headers })
}

/** @throws ShadowError when nothing could answer; whatever the signal gave as its reason when it was given up */
export async function answerOf(context: ProxyContext, question: Question): Promise<Answer> {
  const owned = ownedVersion(context, question)
  if (owned === null) return fromFrontier(context, question, null)
  if (owned.asked) {
    const upstream = context.owned
    if (upstream === null) throw noOwnedModel(owned.version)
    return {
      reply: await askOwned(upstream, owned.version, question),
      servedBy: owned.version,
      fallback: null,
      hidesUsage: false,
    }
  }
  if (context.owned === null) {
    return fromFrontier(context, question, {
      version: owned.version,
      reason: 'no owned model is being served',
    })
  }
  try {
    const reply = await withFirstByte(await askOwned(context.owned, owned.version, question))
    return { reply, servedBy: owned.version, fallback: null, hidesUsage: false }
  } catch (error) {
    if (question.signal.aborted) throw error
    return fromFrontier(context, question, { version: owned.version, reason: messageOf(error) })
  }
}

/** The version to ask, and whether the request itself names it (then nothing else may answer). */
function ownedVersion(
  { routes }: ProxyContext,
  { task, split }: Pick<Question, 'task' | 'split'>,
): { version: string; asked: boolean } | null {
  // Asked in this order because a schema that says no is slow to say so.
  if (split.modelName.startsWith('owned/') && versionName.safeParse(split.modelName).success) {
    return { version: split.modelName, asked: true }
  }
  const { state, version } = routes.routeOf(task)
  return state === 'owned' && version !== null ? { version, asked: false } : null
}

async function fromFrontier(
  context: ProxyContext,
  question: Question,
  fallback: Fallback | null,
): Promise<Answer> {
  const { logger } = context
  const { path, query, headers, split, signal } = question
  const { upstream, name, model } = frontierFor(context, question)
  if (upstream === null) throw unknownUpstream(name, question.task)
  const changed = model === null ? null : withModel(question.body, split, model)
  if (fallback !== null) logger.warn(fallback, 'the frontier answers for the owned model')
  const request = {
    method: 'POST',
    path: path + query,
    headers: changed === null ? headers : without(headers, 'content-encoding'),
    body: changed ?? question.sent,
    signal,
  }
  const asking = bodyAskingUsage(context.tasks, { ...question, body: changed ?? question.body })
  if (asking !== null) {
    // Counts can't be taken out of what is encoded.
    const plain = without(headers, 'accept-encoding', 'content-encoding')
    const reply = await upstream.request({ ...request, headers: plain, body: asking })
    if (!refusals.has(reply.status)) return { reply, servedBy: upstream.name, fallback, hidesUsage: true }
    // Perhaps for what the agent hasn't asked for: it gets the answer to its own request.
    await reply.body[Symbol.asyncIterator]().return?.()
    logger.warn({ task: question.task, status: reply.status }, 'asked for token counts, the upstream refused')
  }
  return { reply: await upstream.request(request), servedBy: upstream.name, fallback, hidesUsage: false }
}

/** How servers answer a field that they don't know. */
const refusals = new Set([400, 422])

function askOwned(upstream: Upstream, version: string, question: Question): Promise<UpstreamReply> {
  return upstream.request({
    method: 'POST',
    path: question.path + question.query,
    // Keys of the frontier are no business of the owned model.
    headers: without(
      question.headers,
      'authorization',
      'api-key',
      'x-api-key',
      'accept-encoding',
      'content-encoding',
    ),
    body: withModel(question.body, question.split, version),
    signal: question.signal,
  })
}

/** The body with another model in it, and nothing else changed. */
function withModel(body: Uint8Array, { model }: SplitRequest, version: string): Uint8Array {
  const name = Buffer.from(JSON.stringify(version))
  if (model !== null) return Buffer.concat([body.subarray(0, model.start), name, body.subarray(model.end)])
  const open = body.indexOf(0x7b) + 1
  return Buffer.concat([
    body.subarray(0, open),
    Buffer.from(`"model":${name.toString()},`),
    body.subarray(open),
  ])
}

/** Waits for the first chunk, so that what fails before it can still be answered by someone else. */
async function withFirstByte(reply: UpstreamReply): Promise<UpstreamReply> {
  const chunks = reply.body[Symbol.asyncIterator]()
  if (reply.status >= 400) {
    await chunks.return?.()
    throw new Error(`the owned model answered with status ${reply.status}`)
  }
  const first = await chunks.next()
  if (first.done === true) throw new Error('the owned model sent an empty reply')
  return { ...reply, body: rest(first.value, chunks) }
}

async function* rest(first: Uint8Array, chunks: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield first
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value
  } finally {
    await chunks.return?.()
  }
}

function noOwnedModel(version: string): ShadowError {
  return new ShadowError('not_found', `No owned model is being served, so ${version} can't answer.`, {
    hint: 'Run `shadow run --task …` until a version is promoted, or ask for another model.',
  })
}
