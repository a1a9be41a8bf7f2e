import { expect, test } from 'vitest'
import { startProxy } from '../support/proxy.ts'
import { replyWith } from '../support/stand-in-upstream.ts'

test('an unmodified client gets its answer, and the call is on record', async () => {
  await using shadow = await startProxy({
    answer: replyWith(({ messages }) => `You said ${String(messages.at(-1)?.content)}.`),
  })
  const { data, response } = await shadow
    .client()
    .chat.completions.create({ model: 'gpt-x', messages: [{ role: 'user', content: 'hi' }] })
    .withResponse()
  expect(data.choices[0]?.message.content).toBe('You said hi.')
  const id = response.headers.get('x-shadow-call') ?? ''
  expect(response.headers.get('x-shadow-served-by')).toBe('frontier')
  const call = await shadow.reader.readCall(id)
  expect(call).toMatchObject({
    status: 'complete',
    task: 'default',
    modelAsked: 'gpt-x',
    usage: { total_tokens: 7 },
    messages: [{ role: 'user', content: 'hi' }],
    replies: [{ finishReason: 'stop', message: { content: 'You said hi.' } }],
  })
  expect(call.session).toBe(id)
  expect(
    Buffer.from(await shadow.reader.requestBytes(id)).equals(shadow.standIn.seen[0]?.body ?? Buffer.alloc(0)),
  ).toBe(true)
})

test('a chat of three turns is one session and one trajectory', async () => {
  await using shadow = await startProxy({ answer: replyWith(({ messages }) => `Answer ${messages.length}`) })
  const client = shadow.client()
  const messages: { role: 'user' | 'assistant'; content: string }[] = []
  for (const content of ['one', 'two', 'three']) {
    messages.push({ role: 'user', content })
    const reply = await client.chat.completions.create({ model: 'm', messages })
    messages.push({ role: 'assistant', content: reply.choices[0]?.message.content ?? '' })
  }
  const sessions = await shadow.reader.listSessions('default')
  expect(sessions).toHaveLength(1)
  const trajectories = await shadow.reader.trajectoriesOfSession(sessions[0]?.id ?? '')
  expect(trajectories).toHaveLength(1)
  expect(trajectories[0]?.turns).toHaveLength(3)
  expect(trajectories[0]?.messages.map(({ content }) => content)).toEqual(
    messages.map(({ content }) => content),
  )
})

test('a streamed reply reaches the client and is stored assembled', async () => {
  await using shadow = await startProxy({ answer: replyWith(() => 'Grüße 👋') })
  const stream = await shadow
    .client()
    .chat.completions.create({ model: 'm', stream: true, messages: [{ role: 'user', content: 'hi' }] })
  let text = ''
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
  expect(text).toBe('Grüße 👋')
  const [call] = await shadow.reader.callsOfTask('default')
  expect(call?.replies[0]?.message.content).toBe('Grüße 👋')
  expect(call?.status).toBe('complete')
})
