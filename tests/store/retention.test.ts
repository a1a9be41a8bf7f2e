import { expect, test } from 'vitest'
import { storeConfig, type Task, taskConfig } from '../../src/contract/index.ts'
import { dialects } from '../../src/dialects/index.ts'
import { retentionRules } from '../../src/ops/retention.ts'
import { checkCapture } from '../../src/store/capture/index.ts'
import { filesWith } from '../support/grep-home.ts'
import { testHome } from '../support/home.ts'
import { watchLoop } from '../support/loop-blocks.ts'
import { recordCall, startStore } from '../support/store.ts'

const dayMs = 86_400_000
const now = Date.UTC(2026, 10, 20)

const task = (name: string, retention: object): Task => ({
  name,
  createdAt: 0,
  config: taskConfig.parse({ retention }),
})

test('rules: a task’s own age, for ever, a number of calls, and the store’s for all others', () => {
  const store = storeConfig.parse({ retention: { maxAgeDays: 30 } })
  const tasks = [
    task('a', { maxAgeDays: 7 }),
    task('b', { maxAgeDays: 'keep' }),
    task('c', { maxCalls: 5 }),
    task('d', {}),
  ]
  expect(retentionRules(store, tasks, now)).toEqual({
    before: now - 30 * dayMs,
    maxBytes: null,
    tasks: {
      a: { before: now - 7 * dayMs, maxCalls: null },
      b: { before: null, maxCalls: null },
      c: { before: now - 30 * dayMs, maxCalls: 5 },
    },
  })
  expect(retentionRules(storeConfig.parse({}), [task('d', {})], now)).toBeNull()
})

test('calls go by age, by number and by size, the oldest first, and no loop is held for it', async () => {
  await using set = await startStore()
  const { store, reader, home } = set
  const record = (text: string, about: { task: string; at: number }) =>
    recordCall(store, {
      messages: [{ role: 'user', content: `${text} ${'x '.repeat(1000)} ${Math.random()}` }],
      replies: [{ role: 'assistant', content: text }],
      ...about,
    })
  for (let day = 40; day > 0; day--) {
    for (const name of ['a', 'b', 'c'])
      await record(`day-${day}-${name}`, { task: name, at: now - day * dayMs })
  }
  const rules = retentionRules(
    storeConfig.parse({ retention: { maxAgeDays: 30 } }),
    [task('b', { maxAgeDays: 'keep' }), task('c', { maxCalls: 5 })],
    now,
  )
  if (rules === null) throw new Error('There are rules.')
  expect(await store.planRetention(rules)).toMatchObject({ calls: 10 + 35, tasks: ['a', 'c'] })
  expect(await store.retain(rules)).toMatchObject({ calls: 10 + 35 })
  expect(await store.retain(rules)).toMatchObject({ calls: 0 })
  const left = (await reader.listSessions()).map((session) => session.task)
  expect(['a', 'b', 'c'].map((name) => left.filter((each) => each === name).length)).toEqual([30, 40, 5])
  expect(await filesWith(home, 'day-36-a')).toEqual([])
  expect(await filesWith(home, 'day-36-b')).not.toEqual([])

  const small = { before: null, maxBytes: 1.5 * 2 ** 20, tasks: {} }
  // What the machine does now and then is not in every round; what letting go does is.
  let heldMs = Number.POSITIVE_INFINITY
  for (let round = 0; round < 4 && heldMs >= 5; round++) {
    for (let index = 0; index < 600; index++) await record(`big-${index}`, { task: 'd', at: now + index })
    await reader.stats()
    const watch = watchLoop()
    expect((await store.retain(small)).calls).toBeGreaterThan(200)
    heldMs = Math.min(heldMs, (await watch.stop()).cpuMs)
  }
  expect(heldMs).toBeLessThan(5)
  expect((await store.retain(small)).calls).toBe(0)
  expect((await reader.listCalls({ task: 'b' })).length).toBe(0)
  expect((await reader.listCalls({ task: 'd' })).length).toBeGreaterThan(100)
  expect(store.backlog().expired).toBeGreaterThan(345)
  expect(checkCapture(home, dialects).flatMap(({ damage }) => damage)).toEqual([])
})

test('the commands: settings are checked, a dry run changes nothing', async () => {
  await using home = await testHome()
  const wrong = await home.shadow(['store', 'set', 'retention.maxAge=3'])
  expect({ code: wrong.code, stderr: wrong.stderr }).toEqual({
    code: 1,
    stderr: expect.stringMatching(/retention\.maxAge[\s\S]*shadow store/),
  })
  await home.shadow(['store', 'set', 'retention.maxAgeDays=30', 'synchronous=full'])
  expect(JSON.parse((await home.shadow(['store'])).stdout)).toMatchObject({
    config: { retention: { maxAgeDays: 30 }, synchronous: 'full' },
    calls: 0,
  })
  expect((await home.shadow(['store', 'retain', '--dry-run'])).stdout).toBe(
    'Nothing that is stored matches.\n',
  )
})
