/** What is under `/v1` and in no dialect, or can't be read: passed on both ways in its own chunks, and not captured. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { UpstreamReply } from '../src/contract/index.ts'
import { messageOf, ShadowError } from '../src/lib/error.ts'
import { type FetchedResponse, fetchedResponse } from './background.ts'
import type { ProxyContext } from './context.ts'
import { Departure } from './departure.ts'
import { endToEnd, pairsOf } from './headers.ts'
import { ReplyWriter, sendError } from './reply-writer.ts'
import type { Target } from './target.ts'
import { chooseUpstream, unknownUpstream } from './upstream-choice.ts'

/** A call of a dialect whose body says nothing to this proxy. */
export interface UnreadableCall {
  readonly body: Buffer
  readonly reason: string
}

export async function handlePassThrough(
  context: ProxyContext,
  target: Target,
  req: IncomingMessage,
  res: ServerResponse,
  unreadable: UnreadableCall | null = null,
): Promise<void> {
  const { counts, logger } = context
  const { task, path, query } = target
  counts.passedThrough++
  const method = req.method ?? 'GET'
  const headers = endToEnd(pairsOf(req.rawHeaders), 'expect')
  const chosen = chooseUpstream(context, { task, dialect: null, modelName: '', headers })
  const { upstream } = chosen
  if (upstream === null) {
    sendError(res, unknownUpstream(chosen.name, task))
    return
  }
  const agent = new Departure(res)
  const hasBody =
    req.headers['content-length'] !== undefined || req.headers['transfer-encoding'] !== undefined
  let reply: UpstreamReply
  try {
    reply = await upstream.request({
      method,
      path: path + query,
      headers,
      body: unreadable?.body ?? (hasBody ? req : null),
      signal: agent,
    })
  } catch (error) {
    const known =
      error instanceof ShadowError
        ? error
        : new ShadowError('internal', `The request failed: ${messageOf(error)}.`, { cause: error })
    sendError(res, known, [['x-shadow-served-by', upstream.name]])
    return
  }
  if (unreadable !== null && reply.status < 300) {
    counts.notCaptured++
    logger.error(
      { path, notCaptured: counts.notCaptured, error: unreadable.reason },
      'A CALL WAS NOT CAPTURED; its upstream could read it',
    )
  }
  let fetched: FetchedResponse | null
  try {
    fetched = await fetchedResponse(context, { method, target, headers, reply, servedBy: upstream.name })
  } catch (error) {
    await reply.body[Symbol.asyncIterator]().return?.()
    throw error
  }
  const writer = new ReplyWriter(res)
  writer.head(reply, [...endToEnd(reply.headers), ['x-shadow-served-by', upstream.name]])
  try {
    for await (const chunk of reply.body) {
      await fetched?.push(chunk)
      await writer.write(chunk)
    }
    await fetched?.end()
    writer.end()
  } catch (error) {
    if (!agent.aborted) logger.warn({ path, error: messageOf(error) }, 'reply was cut')
    writer.cut()
  }
}
