/** The server's own API under `/shadow/v1`: the same operations as the commands. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { Hono } from 'hono'
import { deletionOrder, importOrder, retentionOrder, routeChange } from '../contract/api.ts'
import { taskName } from '../contract/task.ts'
import { messageOf, ShadowError } from '../lib/error.ts'
import type { ServerControl } from '../ops/serve.ts'

export function createApi(control: ServerControl): Hono {
  const app = new Hono().basePath('/shadow/v1')

  app.onError((error, context) => {
    const known = error instanceof ShadowError ? error : new ShadowError('internal', messageOf(error))
    return new Response(JSON.stringify(known.toOpenAI()), {
      status: known.httpStatus,
      headers: { ...Object.fromEntries(context.res.headers), 'content-type': 'application/json' },
    })
  })

  app.use(async (context, next) => {
    if (!sameToken(context.req.header('authorization') ?? '', `Bearer ${control.token}`)) {
      throw new ShadowError('missing_key', 'The API needs the token that is in server.json.')
    }
    await next()
  })

  app.get('/status', (context) => context.json({ status: 'ok', pid: process.pid }))

  app.put('/tasks/:task/route', async (context) => {
    const task = taskName.safeParse(context.req.param('task'))
    const change = routeChange.safeParse(await context.req.json().catch(() => null))
    if (!task.success || !change.success) {
      throw new ShadowError('invalid_request', 'Send {"state": "frontier" | "owned", "version", "reason"}.')
    }
    await control.changeRoute(task.data, change.data)
    return context.json({ task: task.data, ...change.data })
  })

  app.post('/deletions', async (context) => {
    const order = deletionOrder.safeParse(await context.req.json().catch(() => null))
    if (!order.success) {
      throw new ShadowError('invalid_request', 'Send {"selection": {…}, "isDryRun": true | false}.')
    }
    const { selection, isDryRun } = order.data
    return context.json(await (isDryRun ? control.planDeletion(selection) : control.delete(selection)))
  })

  app.post('/retention', async (context) => {
    const order = retentionOrder.safeParse(await context.req.json().catch(() => null))
    if (!order.success) {
      throw new ShadowError('invalid_request', 'Send {"rules": {…}, "isDryRun": true | false}.')
    }
    const { rules, isDryRun } = order.data
    return context.json(await (isDryRun ? control.planRetention(rules) : control.retain(rules)))
  })

  app.post('/calls', async (context) => {
    const order = importOrder.safeParse(await context.req.json().catch(() => null))
    if (!order.success) throw new ShadowError('invalid_request', 'Send {"lines": [...], "task"}.')
    return context.json(await control.importCalls(order.data.lines, order.data.task))
  })

  return app
}

/** Compares digests, so that neither length nor content shows in the time it takes. */
function sameToken(given: string, expected: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(given), digest(expected))
}
