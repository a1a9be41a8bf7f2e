/** Real clients with nothing but their base URL changed; what they do of their own accord is on record. */
import { createOpenAI } from '@ai-sdk/openai'
import { Anthropic } from '@anthropic-ai/sdk'
import { generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai'
import { APIConnectionTimeoutError, APIUserAbortError, OpenAI } from 'openai'
import { expect, test } from 'vitest'
import { startProxy } from '../support/proxy.ts'
import { answerInAnyDialect } from '../support/stand-in-dialects.ts'
import { replyWith } from '../support/stand-in-upstream.ts'

const said = 'It is sunny, hé 🙂'
const hi = { model: 'm', messages: [{ role: 'user' as const, content: 'hi' }] }

const start = () => startProxy({ answer: answerInAnyDialect(said) })
type Shadow = Awaited<ReturnType<typeof start>>

async function recorded(shadow: Shadow) {
  const calls = await shadow.reader.callsOfTask('default')
  return calls.map(({ dialect, status, replies }) => [dialect, status, replies[0]?.message.content ?? null])
}

test('openai: chat, its streaming helper and its events', async () => {
  await using shadow = await start()
  const client = shadow.client()
  const plain = await client.chat.completions.create(hi).withResponse()
  expect(plain.data.choices[0]?.message.content).toBe(said)
  const stream = client.chat.completions.stream({ ...hi, messages: [{ role: 'user', content: 'again' }] })
  const pieces: string[] = []
  stream.on('content', (piece) => pieces.push(piece))
  const completion = await stream.finalChatCompletion()
  expect([pieces.join(''), completion.choices[0]?.message.content]).toEqual([said, said])
  expect(await recorded(shadow)).toEqual([
    ['chat', 'complete', said],
    ['chat', 'complete', said],
  ])
})

test('openai: responses, streamed and with a tool, go on from each other', async () => {
  await using shadow = await start()
  const client = shadow.client()
  const first = await client.responses.create({ model: 'm', input: 'hi' })
  expect(first.output_text).toBe(said)
  const stream = client.responses.stream({ model: 'm', input: 'and now?', previous_response_id: first.id })
  expect((await stream.finalResponse()).output_text).toBe(said)
  const tools = [{ type: 'function' as const, name: 'weather', parameters: {}, strict: false }]
  const wanted = await client.responses.create({ model: 'm', input: 'Rome?', tools })
  const [call] = wanted.output
  if (call?.type !== 'function_call') throw new Error('The stand-in did not want its tool.')
  const answered = await client.responses.create({
    model: 'm',
    tools,
    input: [
      { role: 'user', content: 'Rome?' },
      call,
      { type: 'function_call_output', call_id: call.call_id, output: 'sun' },
    ],
  })
  expect(answered.output_text).toBe(said)
  const calls = await shadow.reader.callsOfTask('default')
  expect(calls.map(({ dialect, status }) => [dialect, status])).toEqual(
    Array.from({ length: 4 }, () => ['responses', 'complete']),
  )
  expect([calls[1]?.parent, calls[3]?.parent]).toEqual([calls[0]?.id, calls[2]?.id])
})

test('openai: a retry after 429 waits as it is told and is a sibling, not a second conversation', async () => {
  let asked = 0
  await using shadow = await startProxy({
    answer: (request, res, req) => {
      if (asked++ > 0) return replyWith(() => said)(request, res, req)
      res.writeHead(429, { 'retry-after-ms': '20', 'content-type': 'application/json' })
      res.end('{"error":{"message":"slow down"}}')
    },
  })
  const client = new OpenAI({ baseURL: `${shadow.origin}/v1`, apiKey: 'sk-agent', maxRetries: 2 })
  expect((await client.chat.completions.create(hi)).choices[0]?.message.content).toBe(said)
  const calls = await shadow.reader.callsOfTask('default')
  expect(calls.map(({ status }) => status)).toEqual(['upstream_error', 'complete'])
  expect(new Set(calls.map(({ session }) => session)).size).toBe(1)
})

test('openai: an abort and a timeout are what they are without a proxy, and are on record', async () => {
  await using shadow = await startProxy({ answer: () => {} })
  const client = shadow.client()
  const abort = new AbortController()
  const aborted = client.chat.completions.create(hi, { signal: abort.signal })
  const failure = expect(aborted).rejects.toThrow(APIUserAbortError)
  await expect.poll(() => shadow.standIn.seen.length, { timeout: 10_000 }).toBe(1)
  abort.abort()
  await failure
  await expect(client.chat.completions.create(hi, { timeout: 1000 })).rejects.toThrow(
    APIConnectionTimeoutError,
  )
  await expect
    .poll(async () => (await shadow.reader.callsOfTask('default')).map(({ status }) => status), {
      timeout: 10_000,
    })
    .toEqual(['aborted', 'aborted'])
})

test('anthropic: messages, streamed messages, a tool loop and counted tokens', async () => {
  await using shadow = await start()
  const client = new Anthropic({ baseURL: shadow.origin, apiKey: 'sk-ant-agent', maxRetries: 0 })
  const ask = { model: 'm', max_tokens: 64, messages: hi.messages }
  expect((await client.messages.create(ask)).content).toMatchObject([{ type: 'text', text: said }])
  expect((await client.messages.countTokens({ model: 'm', messages: hi.messages })).input_tokens).toBe(42)
  const streamed = client.messages.stream({ ...ask, messages: [{ role: 'user', content: 'again' }] })
  expect(await streamed.finalText()).toBe(said)
  const tools = [{ name: 'weather', input_schema: { type: 'object' as const } }]
  const question = { role: 'user' as const, content: 'Rome?' }
  const wanted = await client.messages.stream({ ...ask, messages: [question], tools }).finalMessage()
  const [use] = wanted.content
  expect(use).toMatchObject({ type: 'tool_use', name: 'weather', input: { city: 'Rome' } })
  const answered = await client.messages.create({
    ...ask,
    tools,
    messages: [
      question,
      { role: 'assistant', content: wanted.content },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: 'sun' }] },
    ],
  })
  expect(answered.content).toMatchObject([{ text: said }])
  const calls = await shadow.reader.callsOfTask('default')
  expect(calls.map(({ dialect, status }) => [dialect, status])).toEqual(
    Array.from({ length: 4 }, () => ['messages', 'complete']),
  )
  expect(calls[3]?.parent).toBe(calls[2]?.id)
  const seen = shadow.standIn.seen.flatMap(({ rawHeaders }) => rawHeaders.map((name) => name.toLowerCase()))
  expect(seen).toContain('anthropic-version')
})

test('the AI SDK: text, a stream and a tool loop', async () => {
  await using shadow = await start()
  const provider = createOpenAI({ baseURL: `${shadow.origin}/v1`, apiKey: 'sk-agent' })
  expect((await generateText({ model: provider.chat('m'), prompt: 'hi' })).text).toBe(said)
  expect(await streamText({ model: provider.responses('m'), prompt: 'again' }).text).toBe(said)
  const weather = tool({
    inputSchema: jsonSchema<{ city: string }>({
      type: 'object',
      properties: { city: { type: 'string' } },
    }),
    execute: ({ city }) => `sun in ${city}`,
  })
  const { text, steps } = await generateText({
    model: provider.responses('m'),
    prompt: 'Rome?',
    tools: { weather },
    stopWhen: stepCountIs(3),
  })
  expect([text, steps.length]).toEqual([said, 2])
  const calls = await shadow.reader.callsOfTask('default')
  expect(calls.map(({ dialect, status }) => [dialect, status])).toEqual([
    ['chat', 'complete'],
    ['responses', 'complete'],
    ['responses', 'complete'],
    ['responses', 'complete'],
  ])
  expect(calls[3]?.parent).toBe(calls[2]?.id)
})
