import { expect, test } from 'vitest'
import { startProxy } from '../support/proxy.ts'
import { replyWith } from '../support/stand-in-upstream.ts'

const hi = { model: 'm', messages: [{ role: 'user' as const, content: 'hi' }] }

test('a port in use is said so, with what to do', async () => {
  await using shadow = await startProxy()
  const port = Number(new URL(shadow.origin).port)
  await expect(shadow.proxy.listen(port, '127.0.0.1')).rejects.toMatchObject({
    code: 'port_in_use',
    hint: expect.stringContaining('--port'),
  })
})

test('health says what was captured', async () => {
  await using shadow = await startProxy()
  await shadow.client().chat.completions.create(hi)
  expect(await (await fetch(`${shadow.origin}/health`)).json()).toMatchObject({
    status: 'ok',
    captured: 1,
    notCaptured: 0,
  })
  expect(await (await fetch(`${shadow.origin}/elsewhere`)).json()).toMatchObject({
    error: { code: 'not_found' },
  })
})

test('closing lets calls in flight end', async () => {
  await using shadow = await startProxy({
    answer: (request, res, req) =>
      void setTimeout(() => void replyWith(() => 'late')(request, res, req), 200),
  })
  const call = shadow.client().chat.completions.create(hi)
  await expect.poll(() => shadow.standIn.seen.length).toBe(1)
  await shadow.proxy.close(5000)
  expect((await call).choices[0]?.message.content).toBe('late')
  await expect(fetch(`${shadow.origin}/health`)).rejects.toThrow()
  expect((await shadow.reader.stats()).calls).toBe(1)
})

test('a store that fails does not keep an agent from its answer, and is counted', async () => {
  await using shadow = await startProxy()
  const { store } = shadow
  const record = store.record.bind(store)
  store.record = async () => {
    throw new Error('disk full')
  }
  expect((await shadow.client().chat.completions.create(hi)).choices[0]?.message.content).toBe('Hello!')
  store.record = record
  const { response } = await shadow.client().chat.completions.create(hi).withResponse()
  expect(response.headers.get('x-shadow-not-captured')).toBe('1')
  expect(await (await fetch(`${shadow.origin}/health`)).json()).toMatchObject({
    status: 'degraded',
    notCaptured: 1,
  })
  expect((await shadow.reader.stats()).calls).toBe(1)
})
