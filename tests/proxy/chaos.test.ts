import { connect, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { dialects } from '../../src/dialects/index.ts'
import { openCaptureStore } from '../../src/store/capture/index.ts'
import { startProxyChild } from '../support/chaos.ts'
import { askFaultyUpstream, faults, startFaultyUpstream } from '../support/fault-storm.ts'
import { startProxy } from '../support/proxy.ts'
import { replyWith, startStandIn } from '../support/stand-in-upstream.ts'
import { temporaryHome } from '../support/store.ts'

const completion = z.object({ choices: z.tuple([z.object({ message: z.looseObject({}) })]) })
const hi = { model: 'm', messages: [{ role: 'user' as const, content: 'hi' }] }

test('whatever an upstream does to it, each call ends for its agent and is recorded as what it was', async () => {
  await using upstream = await startFaultyUpstream()
  await using shadow = await startProxy({ baseUrl: upstream.baseUrl, timeouts: { idleMs: 150 } })
  const asked = await askFaultyUpstream(shadow.origin, 200, 16, 5)
  expect(asked).toHaveLength(200)
  const calls = new Map((await shadow.reader.callsOfTask('default')).map((call) => [call.id, call.status]))
  for (const { fault, call, status, ended, retryAfter } of asked) {
    expect([fault, calls.get(call ?? '')]).toEqual([fault, faults[fault]])
    const isCut = ['resetInStream', 'stall', 'shortBody'].includes(fault)
    expect([fault, ended]).toEqual([fault, !isCut])
    if (fault === 'rateLimited') expect([status, retryAfter]).toEqual([429, '7'])
    if (fault === 'resetBeforeHead' || fault === 'garbage') expect([fault, status]).toEqual([fault, 502])
  }
  shadow.standIn.answer = replyWith(() => 'still here')
  const health = await fetch(`${shadow.origin}/health`)
  expect(await health.json()).toMatchObject({ captured: 200, notCaptured: 0 })
})

test('a body of 20 MB passes and is recorded, and the next agent is answered', async () => {
  await using folder = await temporaryHome()
  const standIn = await startStandIn()
  const proxy = await startProxyChild(folder.home, standIn.baseUrl)
  const ask = async (content: string) => {
    const reply = await fetch(`${proxy.origin}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content }] }),
    })
    // Its end is what the record comes before.
    await reply.text()
    return reply.status
  }
  const content = 'x'.repeat(20_000_000)
  expect(await Promise.all([ask(content), ask('small')])).toEqual([200, 200])
  expect(Math.max(...standIn.seen.map(({ body }) => body.length))).toBeGreaterThan(content.length)
  await proxy.kill()
  await standIn.close()
  const store = await openCaptureStore(folder.home, dialects)
  const calls = await store.reader.callsOfTask('default')
  expect(calls.map(({ status }) => status)).toEqual(['complete', 'complete'])
  await store.close()
})

test('hundreds of connections that say nothing keep nobody from an answer', async () => {
  await using shadow = await startProxy()
  const { port } = new URL(shadow.origin)
  const idle = await Promise.all(
    Array.from(
      { length: 500 },
      () =>
        new Promise<Socket>((resolve, reject) => {
          const socket = connect(Number(port), '127.0.0.1', () => resolve(socket))
          socket.once('error', reject)
        }),
    ),
  )
  const start = performance.now()
  await shadow.client().chat.completions.create(hi)
  expect(performance.now() - start).toBeLessThan(5000)
  for (const socket of idle) socket.destroy()
})

test.each([
  ['from now', 0],
  ['from a time before 1970', Date.now() + 86_400_000],
])('a clock that jumps back an hour %s loses no call and no edge', async (_name, backMs) => {
  await using folder = await temporaryHome()
  const standIn = await startStandIn(replyWith(({ messages }) => `answer ${messages.length}`))
  const clock = new URL('../support/jumping-clock.ts', import.meta.url).href
  const proxy = await startProxyChild(folder.home, standIn.baseUrl, { CLOCK_BACK_MS: String(backMs) }, [
    '--import',
    clock,
  ])
  const messages: object[] = []
  for (let turn = 0; turn < 6; turn++) {
    messages.push({ role: 'user', content: `turn ${turn}` })
    if (turn === 3) {
      proxy.child.kill('SIGUSR2')
      // Answered by the process when it has taken the signal.
      await (await fetch(`${proxy.origin}/health`)).text()
    }
    const reply = await fetch(`${proxy.origin}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ model: 'm', messages }),
    })
    messages.push(completion.parse(await reply.json()).choices[0].message)
  }
  await proxy.kill()
  await standIn.close()
  const store = await openCaptureStore(folder.home, dialects)
  const calls = await store.reader.callsOfTask('default')
  expect(calls).toHaveLength(6)
  const times = calls.map(({ startedAt }) => startedAt)
  expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(3_500_000)
  const sessions = await store.reader.listSessions()
  expect(sessions).toHaveLength(1)
  const [trajectory, ...others] = await store.reader.trajectoriesOfSession(sessions[0]?.id ?? '')
  expect([trajectory?.turns.length, others.length]).toEqual([6, 0])
  await store.close()
})
