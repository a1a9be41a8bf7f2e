/** `GET /v1/models`, the one merged reply: what the upstream lists, and the owned versions behind it. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { z } from 'zod'
import { messageOf } from '../src/lib/error.ts'
import type { ProxyContext } from './context.ts'
import { endToEnd, flatOf, pairsOf, without } from './headers.ts'
import { handlePassThrough } from './pass-through.ts'
import type { Target } from './target.ts'

const modelList = z.looseObject({ data: z.array(z.unknown()) })

/** How long the agent waits for the upstream's half. */
const upstreamTimeoutMs = 10_000

export async function handleModels(
  context: ProxyContext,
  target: Target,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<void> {
  const owned = context.routes.versions()
  // With nothing to merge, the reply is the upstream's own, byte for byte.
  if (owned.length === 0) {
    await handlePassThrough(context, target, req, res)
    return
  }
  const listed = await upstreamList(context, target, req)
  const models = owned.map((id) => ({ id, object: 'model', created: 0, owned_by: 'shadow' }))
  const body = Buffer.from(
    JSON.stringify({ object: 'list', ...listed, data: [...(listed?.data ?? []), ...models] }),
  )
  const servedBy = listed === null ? 'shadow' : `${context.upstream.name}, shadow`
  res.writeHead(
    200,
    flatOf([
      ['content-type', 'application/json'],
      ['content-length', String(body.length)],
      ['x-shadow-served-by', servedBy],
    ]),
  )
  res.end(body)
}

async function upstreamList(
  { upstream, logger }: ProxyContext,
  { path, query }: Target,
  req: IncomingMessage,
) {
  try {
    const reply = await upstream.request({
      method: 'GET',
      path: path + query,
      headers: without(endToEnd(pairsOf(req.rawHeaders)), 'accept-encoding', 'content-length'),
      body: null,
      signal: AbortSignal.timeout(upstreamTimeoutMs),
    })
    const chunks: Uint8Array[] = []
    for await (const chunk of reply.body) chunks.push(chunk)
    if (reply.status !== 200) throw new Error(`status ${reply.status}`)
    return modelList.parse(JSON.parse(Buffer.concat(chunks).toString('utf8')))
  } catch (error) {
    logger.warn({ error: messageOf(error) }, 'the upstream lists no models; the owned ones stand alone')
    return null
  }
}
