import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { expect, test, vi } from 'vitest'
import { startProxy } from '../support/proxy.ts'
import { chatRequest, sendRaw } from '../support/raw-http.ts'
import { type Answer, streamOf } from '../support/stand-in-upstream.ts'

/** For machines that do much else. */
const patience = { timeout: 15_000 }

const hi = { model: 'm', messages: [{ role: 'user' as const, content: 'hi' }] }
const simple = JSON.stringify(hi)

/** Streams a few chunks and then does what the test says. */
function streamThen(end: (res: Parameters<Answer>[1]) => void, pieces = 4): Answer {
  return (_request, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' })
    for (const data of streamOf('abcdef').slice(0, pieces)) res.write(`data: ${data}\n\n`)
    setTimeout(() => end(res), 30)
  }
}

test('a stream that the upstream cuts is cut for the agent and recorded as truncated', async () => {
  await using shadow = await startProxy({ answer: streamThen((res) => res.destroy()) })
  const stream = await shadow.client().chat.completions.create({ ...hi, stream: true })
  await expect(async () => {
    for await (const _ of stream);
  }).rejects.toThrow()
  const [call] = await shadow.reader.callsOfTask('default')
  expect(call).toMatchObject({
    status: 'truncated',
    replies: [{ message: { content: 'abc' }, finishReason: null }],
  })
})

test('a stream that ends without its terminal event is complete only if every choice had ended', async () => {
  await using shadow = await startProxy({ answer: streamThen((res) => res.end(), 8) })
  await shadow
    .client()
    .chat.completions.create({ ...hi, stream: true })
    .then(drain)
  shadow.standIn.answer = streamThen((res) => res.end(), 3)
  await shadow
    .client()
    .chat.completions.create({ ...hi, stream: true })
    .then(drain)
  const calls = await shadow.reader.callsOfTask('default')
  expect(calls.map(({ status }) => status)).toEqual(['complete', 'truncated'])
})

test('a body shorter than its length is cut and truncated', async () => {
  await using shadow = await startProxy({
    answer: (_request, res) => {
      res.writeHead(200, { 'content-length': 100, 'content-type': 'application/json' })
      res.write('{"choices":[')
      setTimeout(() => res.destroy(), 20)
    },
  })
  const reply = await sendRaw(shadow.origin, chatRequest(simple))
  expect(reply.body.toString()).toBe('{"choices":[')
  expect((await shadow.reader.callsOfTask('default'))[0]).toMatchObject({ status: 'truncated', replies: [] })
})

test('an agent that leaves cancels the upstream at once, and what came is kept', async () => {
  let closedAt = 0
  await using shadow = await startProxy({
    answer: (_request, res) => {
      void streamThen(() => {})(_request, res, res.req)
      res.on('close', () => {
        closedAt = performance.now()
      })
    },
  })
  const stream = await shadow.client().chat.completions.create({ ...hi, stream: true })
  let text = ''
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? ''
    if (text === 'abc') break
  }
  const left = performance.now()
  await vi.waitFor(() => expect(closedAt).toBeGreaterThan(0), patience)
  expect(closedAt - left).toBeLessThan(500)
  await vi.waitFor(async () => expect((await shadow.reader.stats()).calls).toBe(1), patience)
  const [call] = await shadow.reader.callsOfTask('default')
  expect(call).toMatchObject({ status: 'aborted', error: null, replies: [{ message: { content: 'abc' } }] })
})

test('the upstream knows within 50 ms that an agent has left', { timeout: 30_000 }, async () => {
  const closed: number[] = []
  await using shadow = await startProxy({
    answer: (_request, res) => {
      void streamThen(() => {})(_request, res, res.req)
      res.on('close', () => closed.push(performance.now()))
    },
  })
  const took: number[] = []
  while (took.length < 7) {
    const leaving = new AbortController()
    const reply = await fetch(`${shadow.origin}/v1/chat/completions`, {
      method: 'POST',
      body: simple,
      signal: leaving.signal,
    })
    await reply.body?.getReader().read()
    const left = performance.now()
    leaving.abort()
    const before = took.length
    await vi.waitFor(() => expect(closed.length).toBeGreaterThan(before), { ...patience, interval: 2 })
    took.push((closed[before] ?? Number.POSITIVE_INFINITY) - left)
  }
  // The median: the machine may do much else.
  expect(took.toSorted((a, b) => a - b)[3]).toBeLessThan(50)
})

test('an agent that leaves before anything came is recorded as aborted', async () => {
  await using shadow = await startProxy({ answer: () => {} })
  const leaving = new AbortController()
  const request = shadow.client().chat.completions.create(hi, { signal: leaving.signal })
  await vi.waitFor(() => expect(shadow.standIn.seen).toHaveLength(1), patience)
  leaving.abort()
  await expect(request).rejects.toThrow()
  await vi.waitFor(async () => expect((await shadow.reader.stats()).calls).toBe(1), patience)
  expect((await shadow.reader.listCalls())[0]).toMatchObject({ status: 'aborted', httpStatus: null })
})

test('an agent that closes right after the terminal event has its complete reply', async () => {
  // The upstream never ends the body, as some don't for a while.
  await using shadow = await startProxy({ answer: streamThen((res) => res.write('data: [DONE]\n\n'), 8) })
  const leaving = new AbortController()
  const reply = await fetch(`${shadow.origin}/v1/chat/completions`, {
    method: 'POST',
    body: simple,
    signal: leaving.signal,
  })
  let text = ''
  for await (const chunk of reply.body ?? []) {
    text += Buffer.from(chunk).toString()
    if (text.includes('[DONE]')) break
  }
  leaving.abort()
  const [call] = await shadow.reader.callsOfTask('default')
  expect(call).toMatchObject({ status: 'complete', replies: [{ message: { content: 'abcdef' } }] })
})

/** The proxy with its real store made slow: records wait until they are let go. */
async function startSlow(answer: Answer) {
  const shadow = await startProxy({ answer })
  const { store } = shadow
  const record = store.record.bind(store)
  const { promise, resolve } = Promise.withResolvers<void>()
  store.record = async (call) => {
    await promise
    await record(call)
  }
  return { shadow, release: () => resolve() }
}

test('the terminal event is held until the call is committed, and nothing before it is', async () => {
  const { shadow: started, release } = await startSlow(streamThen((res) => res.end('data: [DONE]\n\n'), 8))
  await using shadow = started
  const reply = await fetch(`${shadow.origin}/v1/chat/completions`, { method: 'POST', body: simple })
  let text = ''
  const reading = (async () => {
    for await (const chunk of reply.body ?? []) text += Buffer.from(chunk).toString()
  })()
  await vi.waitFor(() => expect(text).toContain('"stop"'), patience)
  await wait(100)
  expect(text).not.toContain('[DONE]')
  release()
  await reading
  expect(text).toContain('[DONE]')
})

test('the end of a terminal event that comes in many chunks is held too', async () => {
  const output = [
    { type: 'message', role: 'assistant', content: [{ type: 'output_text', text: 'x'.repeat(200_000) }] },
  ]
  const data = JSON.stringify({ type: 'response.completed', response: { id: 'r', output } })
  const { shadow: started, release } = await startSlow(async (_request, res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' })
    res.write('event: response.completed\ndata: ')
    for (const piece of [data.slice(0, 100_000), data.slice(100_000), '\n\n']) {
      await wait(20)
      res.write(piece)
    }
  })
  await using shadow = started
  const reply = await fetch(`${shadow.origin}/v1/responses`, {
    method: 'POST',
    body: '{"model":"m","stream":true,"input":"hi"}',
  })
  let text = ''
  const reader = reply.body?.getReader()
  const reading = (async () => {
    while (!text.endsWith('\n\n')) text += Buffer.from((await reader?.read())?.value ?? []).toString()
  })()
  await vi.waitFor(() => expect(text.length).toBeGreaterThan(data.length), patience)
  await wait(100)
  expect(text.endsWith('\n\n')).toBe(false)
  release()
  await reading
})

test('an upstream that is down is a clear error, and the proxy serves on when it is back', async () => {
  await using shadow = await startProxy({ baseUrl: 'http://127.0.0.1:1/v1' })
  const reply = await fetch(`${shadow.origin}/v1/chat/completions`, { method: 'POST', body: simple })
  expect(reply.status).toBe(502)
  expect(await reply.json()).toMatchObject({
    error: {
      type: 'server_error',
      code: 'upstream_unreachable',
      message: expect.stringContaining('SHADOW_UPSTREAM'),
    },
  })
  expect((await shadow.reader.listCalls())[0]).toMatchObject({ status: 'upstream_error', httpStatus: null })
  const through = await fetch(`${shadow.origin}/v1/embeddings`, { method: 'POST', body: '{}' })
  expect(through.status).toBe(502)
})

test('an upstream that does not answer in time is a clear error', async () => {
  await using shadow = await startProxy({ answer: () => {}, timeouts: { firstByteMs: 300 } })
  const reply = await fetch(`${shadow.origin}/v1/chat/completions`, { method: 'POST', body: simple })
  expect(reply.status).toBe(504)
  expect(await reply.json()).toMatchObject({ error: { code: 'upstream_timeout' } })
})

test('time-outs do not end a stream that is alive', async () => {
  await using shadow = await startProxy({
    timeouts: { firstByteMs: 1000, idleMs: 1000 },
    answer: async (_request, res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' })
      for (const data of [...streamOf('abcdef'), '[DONE]']) {
        res.write(`data: ${data}\n\n`)
        await wait(300)
      }
      res.end()
    },
  })
  const started = performance.now()
  const stream = await shadow.client().chat.completions.create({ ...hi, stream: true })
  await drain(stream)
  expect(performance.now() - started).toBeGreaterThan(2000)
  expect((await shadow.reader.listCalls())[0]).toMatchObject({ status: 'complete' })
})

test('a stream that falls silent is cut', async () => {
  await using shadow = await startProxy({ timeouts: { idleMs: 300 }, answer: streamThen(() => {}) })
  const stream = await shadow.client().chat.completions.create({ ...hi, stream: true })
  await expect(drain(stream)).rejects.toThrow()
  expect((await shadow.reader.listCalls())[0]).toMatchObject({ status: 'truncated' })
})

test('a slow reader holds the upstream back instead of filling memory', async () => {
  let sent = 0
  await using shadow = await startProxy({
    answer: async (_request, res) => {
      res.writeHead(200, { 'content-type': 'application/octet-stream' })
      const chunk = Buffer.alloc(256 * 1024)
      for (let index = 0; index < 400 && !res.destroyed; index++) {
        sent += chunk.length
        if (!res.write(chunk)) await once(res, 'drain')
      }
      res.end()
    },
  })
  const leaving = new AbortController()
  await fetch(`${shadow.origin}/v1/files/1/content`, { signal: leaving.signal })
  await wait(500)
  const held = sent
  await wait(300)
  expect(sent).toBe(held)
  expect(sent).toBeLessThan(50 * 1024 * 1024)
  leaving.abort()
})

async function drain(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}
