/** Responses that are made in the background and fetched later. */
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createHttpUpstream } from '../../proxy/http-upstream.ts'
import { startProxy } from '../support/proxy.ts'
import { type Answer, startStandIn } from '../support/stand-in-upstream.ts'

/** Begins with nothing, and has the reply when it is asked for the second time. */
function inBackground(): Answer {
  let polls = 0
  return (request, res) => {
    const isDone = request.method === 'GET' && ++polls > 1
    const item = {
      type: 'message',
      role: 'assistant',
      content: [{ type: 'output_text', text: 'At last.' }],
    }
    const body = JSON.stringify({
      id: 'resp_1',
      model: 'm',
      background: true,
      status: isDone ? 'completed' : polls === 0 ? 'queued' : 'in_progress',
      output: isDone ? [item] : [],
      usage: isDone ? { input_tokens: 3, output_tokens: 2, total_tokens: 5 } : null,
    })
    res.writeHead(200, { 'content-type': 'application/json' })
    // The second half comes later, and the end is not known beforehand.
    res.write(body.slice(0, 20))
    setTimeout(() => res.end(body.slice(20)), 10)
  }
}

const authorization = { authorization: 'Bearer one' }

test.each(['default', 'research'])(
  'a reply that is fetched is recorded once, with the request that began it (%s)',
  async (task) => {
    const recognise = { models: ['m'], systemPrefix: null }
    const rules = task === 'default' ? [] : [{ task, recognise }]
    await using shadow = await startProxy({
      answer: inBackground(),
      options: { tasks: { rules: () => rules } },
    })
    const post = async (body: object) => {
      const sent = JSON.stringify({ model: 'm', ...body })
      const reply = await fetch(`${shadow.origin}/v1/responses`, {
        method: 'POST',
        headers: authorization,
        body: sent,
      })
      await reply.text()
      return { id: reply.headers.get('x-shadow-call') ?? '', sent }
    }
    const get = async (headers: Record<string, string> = authorization) => {
      const reply = await fetch(`${shadow.origin}/v1/responses/resp_1`, { headers })
      const body: { status: string } = JSON.parse(await reply.text())
      return body.status
    }
    const first = await post({ input: 'Think long.', background: true })
    expect(await get({ ...authorization, 'x-task': 'no task' })).toBe('in_progress')
    const begun = await shadow.reader.listCalls()
    expect(begun).toMatchObject([{ id: first.id, status: 'truncated' }])
    // Another agent's fetch is none of this one's conversation.
    expect(await get({ authorization: 'Bearer two' })).toBe('completed')
    expect(await shadow.reader.listCalls()).toHaveLength(1)
    expect(await get()).toBe('completed')
    expect(await get()).toBe('completed')
    const [, fetched, ...others] = await shadow.reader.callsOfTask(task)
    expect(others).toEqual([])
    expect(fetched).toMatchObject({
      status: 'complete',
      session: begun[0]?.session,
      usage: { total_tokens: 5 },
      replies: [{ message: { content: 'At last.' }, finishReason: 'stop' }],
    })
    expect(Buffer.from(await shadow.reader.requestBytes(fetched?.id ?? '')).toString()).toBe(first.sent)
    const next = await post({ input: 'And then?', previous_response_id: 'resp_1' })
    expect(await shadow.reader.readCall(next.id)).toMatchObject({ parent: fetched?.id })
  },
)

test('strict mode withholds a fetched reply that can not be recorded', async () => {
  await using shadow = await startProxy({ answer: inBackground(), options: { capturing: 'strict' } })
  const body = JSON.stringify({ model: 'm', input: 'x', background: true })
  await (await fetch(`${shadow.origin}/v1/responses`, { method: 'POST', body })).text()
  const get = async () => (await fetch(`${shadow.origin}/v1/responses/resp_1`)).text()
  await get()
  shadow.store.record = async () => {
    throw new Error('no space left on device')
  }
  await expect(get()).rejects.toThrow()
})

test('strict mode passes on no fetched reply while nobody can tell whose it is', async () => {
  await using shadow = await startProxy({ answer: inBackground(), options: { capturing: 'strict' } })
  const body = JSON.stringify({ model: 'm', input: 'x', background: true })
  await (await fetch(`${shadow.origin}/v1/responses`, { method: 'POST', body })).text()
  const get = () => fetch(`${shadow.origin}/v1/responses/resp_1`)
  expect(await (await get()).json()).toMatchObject({ status: 'in_progress' })
  // The journal can't be read, and so the tables can't catch up.
  const folder = join(shadow.home, 'capture.journal')
  await rename(folder, `${folder}.away`)
  const refused = await get()
  expect([refused.status, await refused.json()]).toMatchObject([503, { error: { code: 'not_captured' } }])
  await rename(`${folder}.away`, folder)
  expect(await (await get()).json()).toMatchObject({ status: 'completed' })
  expect(await shadow.reader.listCalls()).toMatchObject([{ status: 'complete' }, { status: 'truncated' }])
})

test('a reply that is made in the background is recorded as that, too, where it was asked of an owned model first', async () => {
  const engine = await startStandIn((_, res) => void res.writeHead(500).end())
  const owned = createHttpUpstream({ name: 'owned', baseUrl: engine.baseUrl })
  await using shadow = await startProxy({
    answer: inBackground(),
    options: {
      owned,
      routes: {
        routeOf: () => ({ state: 'owned', version: 'owned/default@1' }),
        versions: () => ['owned/default@1'],
      },
    },
  })
  const body = JSON.stringify({ model: 'm', input: 'x', background: true })
  await (await fetch(`${shadow.origin}/v1/responses`, { method: 'POST', body })).text()
  for (let poll = 0; poll < 2; poll++) await (await fetch(`${shadow.origin}/v1/responses/resp_1`)).text()
  expect(await shadow.reader.listCalls({ order: 'oldest' })).toMatchObject([
    {
      status: 'truncated',
      fallbackFrom: 'owned/default@1',
      error: expect.stringMatching(/status 500; The reply is made in the background/),
    },
    { status: 'complete' },
  ])
  await owned.close()
  await engine.close()
})
