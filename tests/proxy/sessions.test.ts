import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { groupsOf } from '../../src/store/capture/index.ts'
import { startProxy } from '../support/proxy.ts'
import { completionOf, replyWith } from '../support/stand-in-upstream.ts'

interface Message {
  role: string
  content?: string | null
  tool_calls?: unknown
  tool_call_id?: string
}

type Shadow = Awaited<ReturnType<typeof startProxy>>

/** Sends a conversation as it stands and returns the answer's text with the call's session. */
async function say(shadow: Shadow, messages: Message[], headers: Record<string, string> = {}) {
  const reply = await fetch(`${shadow.origin}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: 'Bearer one', ...headers },
    body: JSON.stringify({ model: 'm', messages }),
  })
  const { choices }: { choices: { message: Message }[] } = JSON.parse(await reply.text())
  const call = reply.headers.get('x-shadow-call') ?? ''
  const { session } = await shadow.reader.readCall(call)
  return { message: choices[0]?.message ?? { role: 'none' }, session, call }
}

const user = (content: string): Message => ({ role: 'user', content })

/** Answers with a number that rises, so that no two answers are equal. */
function counting() {
  let count = 0
  return replyWith(() => `answer ${++count}`)
}

test('a linear chat of n calls is one session and one trajectory of n turns', async () => {
  await using shadow = await startProxy({ answer: counting() })
  const messages: Message[] = [{ role: 'system', content: 'Be brief.' }]
  const sessions = new Set<string>()
  for (let turn = 0; turn < 8; turn++) {
    messages.push(user(`question ${turn}`))
    const { message, session } = await say(shadow, messages)
    sessions.add(session)
    messages.push({ ...message, content: message.content ?? '' })
  }
  expect(sessions.size).toBe(1)
  const [trajectory, ...others] = await shadow.reader.trajectoriesOfSession([...sessions][0] ?? '')
  expect(others).toEqual([])
  expect(trajectory?.turns.map(({ index }) => index)).toEqual([2, 4, 6, 8, 10, 12, 14, 16])
  expect(trajectory?.messages).toMatchObject(messages)
})

test('a retry and a branch stay separate, and nothing is dropped', async () => {
  await using shadow = await startProxy({ answer: counting() })
  const first = await say(shadow, [user('a')])
  const retried = await say(shadow, [user('a')])
  expect(retried.session).toBe(first.session)
  await say(shadow, [user('a'), retried.message, user('b')])
  await say(shadow, [user('a'), retried.message, user('b')])
  await say(shadow, [user('a'), retried.message, user('c')])
  const trajectories = await shadow.reader.trajectoriesOfSession(first.session)
  expect(trajectories.map(({ messages }) => messages.map(({ content }) => content))).toEqual([
    ['a', 'answer 1'],
    ['a', 'answer 2', 'b', 'answer 3'],
    ['a', 'answer 2', 'b', 'answer 4'],
    ['a', 'answer 2', 'c', 'answer 5'],
  ])
  const groups = groupsOf(await shadow.reader.callsOfTask('default'))
  expect(groups.map(({ members }) => members.length)).toEqual([2, 2, 1])
})

test('equal requests under way at the same moment are siblings, as they are one after the other', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const answer = counting()
  await using shadow = await startProxy({
    answer: async (...request) => {
      if (shadow.standIn.seen.length === 4) resolve()
      await promise
      await answer(...request)
    },
  })
  const asked = await Promise.all(Array.from({ length: 4 }, () => say(shadow, [user('a')])))
  expect(new Set(asked.map(({ session }) => session)).size).toBe(1)
  const [first, second] = asked
  if (first === undefined || second === undefined) throw new Error('Four were asked.')
  await say(shadow, [user('a'), second.message, user('b')])
  // Somebody has gone on from there, so that this is another agent's.
  expect((await say(shadow, [user('a')])).session).not.toBe(first.session)
  const trajectories = await shadow.reader.trajectoriesOfSession(first.session)
  expect(trajectories.map(({ turns }) => turns.length).toSorted((a, b) => a - b)).toEqual([1, 1, 1, 2])
})

test.each(['in memory', 'in the tables'])(
  'a slow attempt stays with the one that was gone on from while it was under way (%s)',
  async (place) => {
    const slow = Promise.withResolvers<void>()
    const answer = counting()
    await using shadow = await startProxy({
      answer: async (...request) => {
        if (shadow.standIn.seen.length === 1) await slow.promise
        await answer(...request)
      },
    })
    const asked = say(shadow, [user('a')])
    await expect.poll(() => shadow.standIn.seen.length).toBe(1)
    await sleep(5)
    const quick = await say(shadow, [user('a')])
    await say(shadow, [user('a'), quick.message, user('b')])
    // A deletion lets go of what is remembered.
    if (place === 'in the tables') {
      await say(shadow, [user('c')], { 'x-task': 'other' })
      await shadow.store.delete({ task: 'other' })
    }
    slow.resolve()
    expect((await asked).session).toBe(quick.session)
  },
)

test('an opening that was already gone on from is another agent’s when it comes again', async () => {
  await using shadow = await startProxy({ answer: counting() })
  const first = await say(shadow, [user('a')])
  await say(shadow, [user('a'), first.message, user('b')])
  expect((await say(shadow, [user('a')])).session).not.toBe(first.session)
})

test('what the tables hold and what only the journal holds place a call alike', async () => {
  await using shadow = await startProxy({ answer: counting() })
  const first = await say(shadow, [user('a')])
  await shadow.reader.stats()
  const second = await say(shadow, [user('a'), first.message, user('b')])
  const third = await say(shadow, [user('a'), first.message, user('b'), second.message, user('c')])
  expect(new Set([first, second, third].map(({ session }) => session)).size).toBe(1)
  const calls = await shadow.reader.callsOfSession(first.session)
  expect(calls.map(({ parent }) => parent)).toEqual([null, first.call, second.call])
  expect(calls[1]?.parentNode).toBe(calls[0]?.replies[0]?.node)
})

test('keys and tasks are kept apart', async () => {
  await using shadow = await startProxy()
  const sessions = [
    await say(shadow, [user('a')]),
    await say(shadow, [user('a')], { authorization: 'Bearer two' }),
    await say(shadow, [user('a')], { 'x-task': 'other' }),
    await say(shadow, [user('a')], { 'x-session-id': 's' }),
    await say(shadow, [user('a')], { 'x-session-id': 's', authorization: 'Bearer two' }),
  ].map(({ session }) => session)
  expect(new Set(sessions).size).toBe(5)
  expect((await shadow.reader.listSessions('other')).map(({ label, calls }) => ({ label, calls }))).toEqual([
    { label: null, calls: 1 },
  ])
})

test('a session header holds what belongs together, rewritten history too', async () => {
  await using shadow = await startProxy({ answer: counting() })
  const headers = { 'x-session-id': 'run 7' }
  const first = await say(shadow, [user('a')], headers)
  const second = await say(shadow, [user('a'), first.message, user('b')], headers)
  const rewritten = await say(shadow, [user('summary of a and b'), user('c')], headers)
  expect([second.session, rewritten.session]).toEqual([first.session, first.session])
  const trajectories = await shadow.reader.trajectoriesOfSession(first.session)
  expect(trajectories.map(({ turns }) => turns.length)).toEqual([2, 1])
  expect((await shadow.reader.listSessions())[0]).toMatchObject({ label: 'run 7', calls: 3 })
})

test('interleaved sessions with the same opening stay apart by their header', async () => {
  await using shadow = await startProxy({ answer: replyWith(() => 'same') })
  const same = { role: 'assistant', content: 'same' }
  for (const messages of [[user('a')], [user('a'), same, user('b')]]) {
    for (const id of ['one', 'two', 'three']) await say(shadow, messages, { 'x-session-id': id })
  }
  const sessions = await shadow.reader.listSessions()
  expect(sessions.map(({ calls }) => calls)).toEqual([2, 2, 2])
  for (const { id } of sessions) expect(await shadow.reader.trajectoriesOfSession(id)).toHaveLength(1)
})

test('a tool loop whose client renames ids and prints arguments anew is one trajectory', async () => {
  await using shadow = await startProxy({
    answer: (request, res) => {
      const turn = JSON.parse(request.body.toString()).messages.length
      const call = {
        type: 'function',
        function: { name: 'find', arguments: `{"page":${turn}.0, "of": "x"}` },
      }
      const message =
        turn > 5
          ? { role: 'assistant', content: 'done', annotations: [] }
          : { role: 'assistant', content: null, refusal: null, tool_calls: [{ id: `call_${turn}`, ...call }] }
      const body = JSON.stringify(completionOf(message))
      res.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body)
    },
  })
  const messages = [user('look')]
  let session = ''
  for (let turn = 0; turn < 4; turn++) {
    const reply = await say(shadow, messages)
    session = reply.session
    const calls: unknown = reply.message.tool_calls
    if (!Array.isArray(calls)) break
    const id = `renamed-${turn}`
    const args = JSON.stringify(JSON.parse(calls[0].function.arguments))
    messages.push(
      {
        role: 'assistant',
        content: '',
        tool_calls: [{ id, type: 'function', function: { arguments: args, name: 'find' } }],
      },
      { role: 'tool', tool_call_id: id, content: 'found' },
    )
  }
  expect(await shadow.reader.listSessions()).toHaveLength(1)
  const trajectories = await shadow.reader.trajectoriesOfSession(session)
  expect(trajectories.map(({ turns }) => turns.length)).toEqual([4])
})

test('of several choices, the one that is gone on from is part of the path and the others are leaves', async () => {
  await using shadow = await startProxy({
    answer: (request, res) => {
      const { n = 1 } = JSON.parse(request.body.toString())
      const choices = Array.from({ length: n }, (_, index) => ({
        index,
        message: { role: 'assistant', content: `choice ${index}` },
        finish_reason: 'stop',
      }))
      res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ choices }))
    },
  })
  const client = shadow.client()
  await client.chat.completions.create({ model: 'm', n: 3, messages: [{ role: 'user', content: 'a' }] })
  await client.chat.completions.create({
    model: 'm',
    messages: [
      { role: 'user', content: 'a' },
      { role: 'assistant', content: 'choice 1' },
      { role: 'user', content: 'b' },
    ],
  })
  const [session] = await shadow.reader.listSessions()
  const trajectories = await shadow.reader.trajectoriesOfSession(session?.id ?? '')
  expect(trajectories.map(({ messages }) => messages.map(({ content }) => content))).toEqual([
    ['a', 'choice 0'],
    ['a', 'choice 2'],
    ['a', 'choice 1', 'b', 'choice 0'],
  ])
})

test('the official client’s tool runner, unchanged, is one trajectory', async () => {
  await using shadow = await startProxy({
    answer: (request, res) => {
      const { messages }: { messages: Message[] } = JSON.parse(request.body.toString())
      const asked = messages.filter(({ role }) => role === 'tool').length
      const message =
        asked < 2
          ? {
              role: 'assistant',
              content: null,
              tool_calls: [
                {
                  id: `call_${asked}`,
                  type: 'function',
                  function: { name: 'add', arguments: `{"n":${asked}}` },
                },
              ],
            }
          : { role: 'assistant', content: 'three' }
      res.writeHead(200, { 'content-type': 'application/json' })
      res.end(JSON.stringify(completionOf(message, 'm', asked < 2 ? 'tool_calls' : 'stop')))
    },
  })
  const runner = shadow.client().chat.completions.runTools({
    model: 'm',
    messages: [{ role: 'user', content: 'add' }],
    tools: [
      {
        type: 'function',
        function: {
          name: 'add',
          description: 'adds',
          parse: JSON.parse,
          function: ({ n }: { n: number }) => String(n + 1),
          parameters: { type: 'object', properties: { n: { type: 'number' } } },
        },
      },
    ],
  })
  expect(await runner.finalContent()).toBe('three')
  const [session, ...others] = await shadow.reader.listSessions()
  expect(others).toEqual([])
  const trajectories = await shadow.reader.trajectoriesOfSession(session?.id ?? '')
  expect(trajectories).toMatchObject([
    { turns: [{ index: 1 }, { index: 3 }, { index: 5 }], tools: [{ function: { name: 'add' } }] },
  ])
})
