import { expect, test } from 'vitest'
import { ShadowError } from '../../src/lib/error.ts'
import { openCaptureStore } from '../../src/store/capture/index.ts'
import { dialects } from '../../src/dialects/index.ts'
import { startProxy } from '../support/proxy.ts'
import { recordCall, temporaryHome } from '../support/store.ts'

const hi = { model: 'm', messages: [{ role: 'user' as const, content: 'hi' }] }

test('strict mode refuses a call that it has no place for, before it goes up', async () => {
  await using shadow = await startProxy({ options: { capturing: 'strict' } })
  expect((await shadow.client().chat.completions.create(hi)).choices.length).toBe(1)
  const admit = shadow.store.admit.bind(shadow.store)
  shadow.store.admit = () => {
    throw new ShadowError('store_failed', 'no space left on device')
  }
  const seen = shadow.standIn.seen.length
  await expect(shadow.client().chat.completions.create(hi)).rejects.toMatchObject({
    status: 503,
    code: 'not_captured',
  })
  expect(shadow.standIn.seen.length).toBe(seen)
  shadow.store.admit = admit
  await shadow.client().chat.completions.create(hi)
  const calls = await shadow.reader.listCalls({ order: 'oldest' })
  expect(calls.map(({ status }) => status)).toEqual(['complete', 'refused', 'complete'])
  expect(shadow.proxy.counts).toMatchObject({ captured: 2, refused: 1, notCaptured: 0 })
})

test('strict mode withholds the end of a reply that could not be recorded after all', async () => {
  await using shadow = await startProxy({ options: { capturing: 'strict' } })
  shadow.store.record = async () => {
    throw new ShadowError('store_failed', 'no space left on device')
  }
  await expect(shadow.client().chat.completions.create(hi)).rejects.toThrow()
  expect(shadow.proxy.counts.refused).toBe(1)
})

test('room for a call is found out on the disk, and leaves nothing behind', async () => {
  await using folder = await temporaryHome()
  const store = await openCaptureStore(folder.home, dialects)
  const call = (content: string) => ({
    messages: [{ role: 'user', content }],
    replies: [{ role: 'assistant', content }],
  })
  await recordCall(store, call('before'))
  for (let index = 0; index < 50; index++) await store.admit(100_000)
  await recordCall(store, call('after'))
  await store.close()
  const again = await openCaptureStore(folder.home, dialects)
  expect((await again.reader.stats()).calls).toBe(2)
  await again.close()
})

test('when the tables are too far behind, calls wait for them instead of piling up in memory', async () => {
  await using folder = await temporaryHome()
  const store = await openCaptureStore(folder.home, dialects, { maxBacklogCalls: 10 })
  const most: number[] = []
  for (let index = 0; index < 60; index++) {
    await recordCall(store, { messages: [{ role: 'user', content: `${index}` }], replies: [] })
    most.push(store.backlog().calls)
  }
  expect(Math.max(...most)).toBeLessThanOrEqual(10)
  expect(store.backlog().waits).toBeGreaterThanOrEqual(5)
  expect((await store.reader.stats()).calls).toBe(60)
  await store.close()
})
