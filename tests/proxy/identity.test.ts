/** Which session a call belongs to, by everything that agents say of it. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { startProxy } from '../support/proxy.ts'
import { type Answer, completionOf } from '../support/stand-in-upstream.ts'

type Shadow = Awaited<ReturnType<typeof startProxy>>

let count = 0

/** Answers each dialect in its own shape, with a text that rises. */
const anyDialect: Answer = (request, res) => {
  const text = `answer ${++count}`
  const usage = { input_tokens: 1, output_tokens: 1, total_tokens: 2 }
  const replies: Record<string, object> = {
    '/v1/chat/completions': completionOf({ role: 'assistant', content: text }),
    '/v1/messages': { role: 'assistant', content: [{ type: 'text', text }], stop_reason: 'end_turn', usage },
    '/v1/responses': {
      id: `resp_${count}`,
      status: 'completed',
      output: [{ type: 'message', role: 'assistant', content: [{ type: 'output_text', text }] }],
      usage,
    },
  }
  const body = Buffer.from(JSON.stringify(replies[request.url] ?? {}))
  res.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body)
}

async function call(shadow: Shadow, path: string, body: object, headers: Record<string, string> = {}) {
  const sent = JSON.stringify({ model: 'm', ...body })
  const reply = await fetch(`${shadow.origin}/v1${path}`, {
    method: 'POST',
    headers: { authorization: 'Bearer one', ...headers },
    body: sent,
  })
  const text = await reply.text()
  const id = reply.headers.get('x-shadow-call') ?? ''
  expect(Buffer.from(await shadow.reader.requestBytes(id)).toString()).toBe(sent)
  const { session } = await shadow.reader.readCall(id)
  return { id, session, text }
}

const hello = { messages: [{ role: 'user', content: 'Hello' }] }

test('every header that names a session does, in the documented order, and nothing merges across them', async () => {
  await using shadow = await startProxy({ answer: anyDialect })
  const names = [
    'x-session-id',
    'x-claude-code-session-id',
    'session-id',
    'session_id',
    'thread-id',
    'x-litellm-session-id',
    'helicone-session-id',
  ]
  const all: Record<string, string> = {}
  const sessions = new Set<string>()
  for (const name of names.toReversed()) {
    all[name] = `by ${name}`
    const one = await call(shadow, '/chat/completions', hello, { [name]: `by ${name}` })
    const first = await call(shadow, '/chat/completions', hello, all)
    expect(first.session).toBe(one.session)
    sessions.add(one.session)
  }
  expect(sessions.size).toBe(names.length)
})

test('bodies name sessions too', async () => {
  await using shadow = await startProxy({ answer: anyDialect })
  const user = 'user_1_account__session_11-22'
  const bodies: [string, object][] = [
    ['/messages', { ...hello, metadata: { user_id: user } }],
    ['/messages', { ...hello, metadata: { user_id: JSON.stringify({ session_id: '33' }) } }],
    ['/chat/completions', { ...hello, metadata: { thread_id: '44' } }],
    ['/responses', { input: 'Hello', metadata: { session_id: '55' } }],
    ['/responses', { input: 'Hello', conversation: { id: 'conv_66' } }],
  ]
  for (const [path, body] of bodies) {
    const first = await call(shadow, path, body)
    expect((await call(shadow, path, body)).session).toBe(first.session)
  }
  const labels = (await shadow.reader.listSessions()).map(({ label }) => label)
  expect(labels).toEqual(['11-22', '33', '44', '55', 'conv_66'])
})

test('agents of one session are roots of their own, with who they are', async () => {
  await using shadow = await startProxy({ answer: anyDialect })
  const session = { 'x-claude-code-session-id': 's' }
  const main = await call(shadow, '/messages', hello, { ...session, 'x-claude-code-agent-id': 'main' })
  const helper = await call(shadow, '/messages', hello, {
    ...session,
    'x-claude-code-agent-id': 'sub',
    'x-claude-code-parent-agent-id': 'main',
  })
  expect(helper.session).toBe(main.session)
  expect(await shadow.reader.readCall(helper.id)).toMatchObject({
    parent: null,
    agent: 'sub',
    parentAgent: 'main',
  })
})

test('a response that goes on from another has the whole conversation, and its own bytes', async () => {
  await using shadow = await startProxy({ answer: anyDialect })
  const tools = [{ type: 'function', name: 'f', parameters: { type: 'object' } }]
  const head = { instructions: 'Be brief.', tools }
  const first = await call(shadow, '/responses', { ...head, input: 'one' })
  let previous = first
  for (const input of ['two', [{ role: 'user', content: 'three' }]]) {
    const { id }: { id: string } = JSON.parse(previous.text)
    const next = await call(shadow, '/responses', { ...head, previous_response_id: id, input })
    expect(next.session).toBe(first.session)
    expect(await shadow.reader.readCall(next.id)).toMatchObject({ parent: previous.id })
    previous = next
  }
  const [trajectory, ...others] = await shadow.reader.trajectoriesOfSession(first.session)
  expect(others).toEqual([])
  expect(trajectory?.messages.map(({ role }) => role).join(' ')).toBe(
    'system user assistant user assistant user assistant',
  )
  expect(trajectory?.turns.map(({ index }) => index)).toEqual([2, 4, 6])
  expect(trajectory?.tools).toHaveLength(1)
  const other = { authorization: 'Bearer two' }
  const { id }: { id: string } = JSON.parse(previous.text)
  const foreign = await call(shadow, '/responses', { previous_response_id: id, input: 'x' }, other)
  expect(foreign.session).not.toBe(first.session)
})

test('a conversation that the upstream keeps is one path', async () => {
  await using shadow = await startProxy({ answer: anyDialect })
  const ids: string[] = []
  for (const input of ['one', 'two', 'three']) {
    const made = await call(shadow, '/responses', { conversation: 'conv_1', input })
    ids.push(made.id)
  }
  const { messages, parent } = await shadow.reader.readCall(ids[2] ?? '')
  expect(parent).toBe(ids[1])
  expect(messages).toHaveLength(5)
})

test('a conversation that changes its dialect is still one', async () => {
  await using shadow = await startProxy({ answer: anyDialect })
  const first = await call(shadow, '/chat/completions', hello)
  const answer = `answer ${count}`
  const messages = [...hello.messages, { role: 'assistant', content: [{ type: 'text', text: answer }] }]
  const next = await call(shadow, '/messages', { messages: [...messages, { role: 'user', content: 'More' }] })
  expect(next.session).toBe(first.session)
  expect(await shadow.reader.readCall(next.id)).toMatchObject({ parent: first.id })
})

test('a session goes on, marked, after its history was put into a summary', async () => {
  const summary = 'They asked for a flight to Oslo on Monday, window seat, and I have found two of them.'
  await using shadow = await startProxy({
    answer: (request, res) => {
      const text = request.body.includes('Sum up') ? summary : `answer ${++count}`
      res.end(JSON.stringify(completionOf({ role: 'assistant', content: text })))
    },
  })
  const named = { 'x-session-id': 's' }
  const first = await call(shadow, '/chat/completions', hello, named)
  const sum = await call(
    shadow,
    '/chat/completions',
    { messages: [{ role: 'user', content: 'Sum up' }] },
    named,
  )
  const resumed = [{ role: 'user', content: `Goes on from: ${summary}` }]
  const next = await call(shadow, '/chat/completions', { messages: resumed }, named)
  expect(next.session).toBe(first.session)
  expect(await shadow.reader.readCall(next.id)).toMatchObject({ parent: null, continues: sum.id })
  const unrelated = [{ role: 'user', content: 'Another thing' }]
  const apart = await call(shadow, '/chat/completions', { messages: unrelated }, named)
  expect(await shadow.reader.readCall(apart.id)).toMatchObject({ parent: null, continues: null })
})

test('in a random growth of conversations every edge is found', { timeout: 60_000 }, async () => {
  await using shadow = await startProxy({ answer: anyDialect })
  let run = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ from: fc.nat(), session: fc.nat(2), text: fc.constantFrom('a', 'b', 'c') }), {
        minLength: 2,
        maxLength: 14,
      }),
      async (steps) => {
        run++
        const made: { id: string; name: string; messages: { role: string; content: string }[] }[] = []
        for (const { from, session, text } of steps) {
          const name = `run ${run} session ${session}`
          const known = made.filter((each) => each.name === name)
          const at = known.length === 0 ? undefined : known[from % (known.length + 1)]
          const messages = [...(at?.messages ?? []), { role: 'user', content: text }]
          const { id } = await call(shadow, '/chat/completions', { messages }, { 'x-session-id': name })
          made.push({ id, name, messages: [...messages, { role: 'assistant', content: `answer ${count}` }] })
          const { parent, continues } = await shadow.reader.readCall(id)
          expect([parent, continues]).toEqual([at?.id ?? null, null])
        }
      },
    ),
    { numRuns: 25 },
  )
})

test('without any name, in a random growth of interleaved conversations every edge is found', {
  timeout: 60_000,
}, async () => {
  await using shadow = await startProxy({ answer: anyDialect })
  let run = 0
  const step = fc.record({ from: fc.nat(), isNew: fc.boolean(), text: fc.constantFrom('a', 'b', 'c') })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 16 }), async (steps) => {
      run++
      // Every agent opens with one of three texts, so that many openings are equal.
      const made: { id: string; session: string; messages: { role: string; content: string }[] }[] = []
      for (const { from, isNew, text } of steps) {
        const at = isNew ? undefined : made[from % Math.max(made.length, 1)]
        const opening = { role: 'system', content: `run ${run}` }
        const messages = [...(at?.messages ?? [opening]), { role: 'user', content: text }]
        // An equal opening that nobody has gone on from may be what is tried again.
        const retried = made.filter(({ messages: known }) => {
          const isFollowed = made.some((each) =>
            each.messages.slice(0, -1).includes(known[known.length - 1] ?? opening),
          )
          return !isFollowed && JSON.stringify(known.slice(0, -1)) === JSON.stringify(messages)
        })
        const next = await call(shadow, '/chat/completions', { messages })
        const reply = { role: 'assistant', content: `answer ${count}` }
        expect((await shadow.reader.readCall(next.id)).parent).toBe(at?.id ?? null)
        if (at !== undefined) expect(next.session).toBe(at.session)
        else {
          const others = made.filter((each) => !retried.includes(each)).map(({ session }) => session)
          const own = retried.map(({ session }) => session)
          expect(others.filter((session) => !own.includes(session))).not.toContain(next.session)
        }
        made.push({ ...next, messages: [...messages, reply] })
      }
    }),
    { numRuns: 25 },
  )
})
