import fc from 'fast-check'
import { expect, test } from 'vitest'
import { groupsOf, trajectoriesOf } from '../../src/store/capture/index.ts'
import { placedCall, recordCall, startStore } from '../support/store.ts'

interface Turn {
  /** Which earlier reply of the conversation is gone on from; beyond them a new opening. */
  from: number
  text: string
  /** Whether the client echoes the reply in another form. */
  isRewritten: boolean
}

const user = (content: string) => ({ role: 'user', content })

test('random conversations with a session header: every call is found, every edge is right', async () => {
  const turns = fc.array(
    fc.record({ from: fc.nat(6), text: fc.constantFrom('a', 'b', 'c'), isRewritten: fc.boolean() }),
    { minLength: 1, maxLength: 12 },
  )
  await using set = await startStore()
  const { store, reader } = set
  let runs = 0
  await fc.assert(
    fc.asyncProperty(turns, fc.boolean(), async (script: Turn[], isRead) => {
      const name = `run ${++runs}`
      const made: { id: string; messages: unknown[]; parent: string | null }[] = []
      for (const [place, { from, text, isRewritten }] of script.entries()) {
        const before = made[from]
        const history = before?.messages ?? []
        const echoed = isRewritten ? history.map(rewritten) : history
        const messages = [...echoed, user(text)]
        // Every answer is another one, so that the call that a prompt continues is never in doubt.
        const reply = { role: 'assistant', content: `${name} answer ${place}`, annotations: [] }
        const { id } = await recordCall(store, { messages, replies: [reply], session: name })
        made.push({ id, messages: [...messages, reply], parent: before?.id ?? null })
        if (isRead) await reader.stats()
      }
      const session = (await reader.listSessions()).find(({ label }) => label === name)
      const calls = await reader.callsOfSession(session?.id ?? '')
      expect(calls.map(({ id, parent }) => ({ id, parent }))).toEqual(
        made.map(({ id, parent }) => ({ id, parent })),
      )
      const trajectories = await reader.trajectoriesOfSession(session?.id ?? '')
      const leaves = made.filter(({ id }) => !made.some(({ parent }) => parent === id))
      expect(trajectories.map(({ turns }) => turns.at(-1)?.call)).toEqual(leaves.map(({ id }) => id))
      const inTrajectories = new Set(trajectories.flatMap(({ turns }) => turns.map(({ call }) => call)))
      expect(inTrajectories.size).toBe(made.length)
    }),
    { numRuns: 40 },
  )
})

/** As a client echoes it: fields added, text in parts. */
function rewritten(message: unknown): unknown {
  if (typeof message !== 'object' || message === null || !('content' in message)) return message
  const { content, ...rest } = message
  if (typeof content !== 'string') return message
  return { content: [{ type: 'text', text: content }], refusal: null, ...rest }
}

test('episodes without a header stay apart once they differ, and each is one trajectory', async () => {
  await using set = await startStore()
  const { store, reader } = set
  const episodes = Array.from({ length: 12 }, (_, episode) => ({
    messages: [{ role: 'system', content: 's' }, user('hello')] as unknown[],
    name: `episode ${episode}`,
    calls: [] as string[],
  }))
  for (let turn = 0; turn < 5; turn++) {
    for (const episode of episodes) {
      const reply = { role: 'assistant', content: `${episode.name} turn ${turn}` }
      const call = await placedCall(store, { messages: episode.messages, replies: [reply] })
      expect(call.parent).toBe(episode.calls.at(-1) ?? null)
      episode.calls.push(call.id)
      episode.messages = [...episode.messages, reply, user(`${turn}`)]
    }
  }
  const found = []
  for (const { id } of await reader.listSessions()) found.push(...(await reader.trajectoriesOfSession(id)))
  expect(found.map(({ turns }) => turns.map(({ call }) => call).join()).toSorted()).toEqual(
    episodes.map(({ calls }) => calls.join()).toSorted(),
  )
})

test('equal replies are one member of a group, named by all their calls; a filter leaves calls out', async () => {
  await using set = await startStore()
  const { store, reader } = set
  const say = (content: string, credential: string) =>
    recordCall(store, { messages: [user('q')], replies: [{ role: 'assistant', content }], credential })
  const calls = [await say('x', 'one'), await say('y', 'two'), await say('x', 'three')]
  const captured = await reader.callsOfTask('default')
  expect(groupsOf(captured)).toMatchObject([
    {
      members: [
        { message: { content: 'x' }, calls: [calls[0]?.id, calls[2]?.id] },
        { message: { content: 'y' } },
      ],
    },
  ])
  expect(trajectoriesOf(captured)).toHaveLength(3)
  expect(groupsOf(captured, ({ id }) => id === calls[1]?.id)).toMatchObject([
    { members: [{ message: { content: 'y' } }] },
  ])
  expect(groupsOf(captured, () => false)).toEqual([])
})

test('tools are part of where a conversation begins', async () => {
  await using set = await startStore()
  const { store, reader } = set
  const tool = { type: 'function', function: { name: 'f', parameters: { type: 'object' } } }
  for (const tools of [undefined, [], [tool], [{ ...tool, cache_control: {} }]]) {
    await recordCall(store, {
      messages: [user('q')],
      replies: [{ role: 'assistant', content: 'a' }],
      credential: JSON.stringify(tools ?? 0),
      ...(tools === undefined ? {} : { tools }),
    })
  }
  const calls = await reader.callsOfTask('default')
  const [bare, empty, one, same] = calls.map(({ promptNode }) => promptNode)
  expect(bare).toBe(empty)
  expect(one).toBe(same)
  expect(bare).not.toBe(one)
  expect(calls[3]?.tools).toEqual([{ ...tool, cache_control: {} }])
})

test('calls are listed by task and session, from either end, a page at a time', async () => {
  await using set = await startStore()
  const { store, reader } = set
  const ids: string[] = []
  for (let index = 0; index < 7; index++) {
    const { id } = await recordCall(store, {
      messages: [user(`${index}`)],
      replies: [{ role: 'assistant', content: 'a' }],
      task: index % 2 === 0 ? 'even' : 'odd',
      session: 's',
    })
    ids.push(id)
  }
  const listed = async (filter: Parameters<typeof reader.listCalls>[0]) =>
    (await reader.listCalls(filter)).map(({ id }) => ids.indexOf(id))
  expect(await listed({ task: 'even' })).toEqual([6, 4, 2, 0])
  expect(await listed({ order: 'oldest', limit: 3 })).toEqual([0, 1, 2])
  expect(await listed({ order: 'oldest', limit: 2, afterId: ids[2] ?? '' })).toEqual([3, 4])
  expect(await listed({ limit: 2, afterId: ids[3] ?? '' })).toEqual([2, 1])
  const [session] = await reader.listSessions('odd')
  expect(await listed({ session: session?.id ?? '' })).toEqual([5, 3, 1])
  await expect(reader.readCall('none')).rejects.toMatchObject({ code: 'not_found' })
})
