/** What the other dialects make of a conversation, and that equal conversations are equal in all of them. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { dialects } from '../../src/dialects/index.ts'
import { sliceOf } from '../../src/lib/json-slices.ts'

function dialect(name: string) {
  const found = dialects.find((each) => each.name === name)
  if (found === undefined) throw new Error(name)
  return found
}

/** Canonical lines of a request's conversation, and of a reply to it. */
function canonical(name: string, request: object, reply?: object) {
  const { splitRequest, walk, splitReply, canonicalTools } = dialect(name)
  const body = Buffer.from(JSON.stringify(request))
  const split = splitRequest(body)
  const conversation = walk()
  const lines = split.messages.flatMap((slice) => {
    const { text, isRoot } = conversation.message(sliceOf(body, slice))
    return text.split('\n').map((line) => `${isRoot ? 'root ' : ''}${line}`)
  })
  if (reply !== undefined) {
    const bytes = Buffer.from(JSON.stringify(reply))
    const [choice] = splitReply(bytes)?.choices ?? []
    if (choice !== undefined) lines.push(conversation.message(sliceOf(bytes, choice.message)).text)
  }
  const tools = split.tools === null ? null : sliceOf(body, split.tools)
  return { lines, tools: canonicalTools(tools), split, body }
}

const parameters = { type: 'object', properties: { city: { type: 'string' } } }
const answer = 'It is sunny.'

const conversations = {
  chat: {
    request: {
      model: 'm',
      tools: [{ type: 'function', function: { name: 'weather', description: 'Looks.', parameters } }],
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'Rome and Oslo?' },
        {
          role: 'assistant',
          content: null,
          tool_calls: [
            {
              id: 'a',
              type: 'function',
              function: { name: 'weather', arguments: '{"city":"Rome","n":1.0}' },
            },
            { id: 'b', type: 'function', function: { name: 'weather', arguments: '{"city":"Oslo"}' } },
          ],
        },
        { role: 'tool', tool_call_id: 'a', content: 'sun' },
        { role: 'tool', tool_call_id: 'b', content: 'rain' },
        { role: 'user', content: 'Well?' },
      ],
    },
    reply: { choices: [{ message: { role: 'assistant', content: answer } }] },
  },
  messages: {
    request: {
      model: 'm',
      messages: [
        {
          role: 'user',
          content: [{ type: 'text', text: 'Rome and Oslo?', cache_control: { type: 'ephemeral' } }],
        },
        {
          role: 'assistant',
          content: [
            { type: 'thinking', thinking: 'Two cities.', signature: 'x' },
            { type: 'tool_use', id: 'toolu_1', name: 'weather', input: { n: 1, city: 'Rome' } },
            { type: 'tool_use', id: 'toolu_2', name: 'weather', input: { city: 'Oslo' } },
          ],
        },
        {
          role: 'user',
          content: [
            { type: 'tool_result', tool_use_id: 'toolu_1', content: 'sun' },
            { type: 'tool_result', tool_use_id: 'toolu_2', content: [{ type: 'text', text: 'rain' }] },
            { type: 'text', text: 'Well?' },
          ],
        },
      ],
      system: [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } }],
      tools: [{ name: 'weather', description: 'Looks.', input_schema: parameters }],
      max_tokens: 9,
    },
    reply: {
      id: 'msg',
      type: 'message',
      role: 'assistant',
      content: [{ type: 'text', text: answer, citations: null }],
    },
  },
  responses: {
    request: {
      model: 'm',
      input: [
        { role: 'user', content: [{ type: 'input_text', text: 'Rome and Oslo?' }] },
        { type: 'reasoning', id: 'rs_1', summary: [{ type: 'summary_text', text: 'Two cities.' }] },
        {
          type: 'function_call',
          id: 'fc_1',
          call_id: 'x',
          name: 'weather',
          arguments: '{"n": 1, "city": "Rome"}',
        },
        {
          type: 'function_call',
          call_id: 'y',
          name: 'weather',
          arguments: '{"city":"Oslo"}',
          status: 'completed',
        },
        { type: 'function_call_output', call_id: 'x', output: 'sun' },
        { type: 'function_call_output', call_id: 'y', output: [{ type: 'input_text', text: 'rain' }] },
        { role: 'user', content: 'Well?' },
      ],
      tools: [{ type: 'function', name: 'weather', description: 'Looks.', parameters, strict: null }],
      instructions: 'Be brief.',
    },
    reply: {
      id: 'resp_1',
      status: 'completed',
      output: [
        { type: 'reasoning', id: 'rs_2', summary: [] },
        {
          type: 'message',
          id: 'msg_1',
          role: 'assistant',
          status: 'completed',
          content: [{ type: 'output_text', text: answer, annotations: [], logprobs: [] }],
        },
      ],
    },
  },
}

test('one conversation has the same canonical messages, root and tools in three dialects', () => {
  const chat = canonical('chat', conversations.chat.request, conversations.chat.reply)
  expect(chat.lines).toHaveLength(7)
  for (const name of ['messages', 'responses'] as const) {
    const other = canonical(name, conversations[name].request, conversations[name].reply)
    expect(other.lines).toEqual(chat.lines)
    expect(other.tools).toBe(chat.tools)
    expect(other.split.systemText()).toBe('Be brief.')
  }
})

test('what differs in meaning differs', () => {
  const { request } = conversations.messages
  const base = canonical('messages', request).lines
  const written = JSON.stringify(request)
  const failed: object = JSON.parse(written.replace('"content":"sun"', '"content":"sun","is_error":true'))
  expect(canonical('messages', failed).lines).not.toEqual(base)
  expect(canonical('completions', { model: 'm', prompt: 'hi' }).lines).not.toEqual(
    canonical('responses', { model: 'm', input: 'hi' }).lines,
  )
  expect(canonical('responses', { model: 'm', input: 'hi' }).lines).toEqual(
    canonical('chat', { model: 'm', messages: [{ role: 'user', content: 'hi' }] }).lines,
  )
})

test('stored messages read as chat, whatever the dialect', () => {
  for (const name of ['messages', 'responses'] as const) {
    const { split, body } = canonical(name, conversations[name].request)
    const messages = split.messages.flatMap((slice) => dialect(name).readMessages(sliceOf(body, slice)))
    expect(messages).toMatchObject([
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Rome and Oslo?' },
      {
        role: 'assistant',
        reasoning_content: 'Two cities.',
        tool_calls: [{ function: { name: 'weather' } }, { function: { arguments: '{"city":"Oslo"}' } }],
      },
      { role: 'tool', content: 'sun' },
      { role: 'tool', content: 'rain' },
      { role: 'user', content: 'Well?' },
    ])
    const tools = split.tools === null ? [] : dialect(name).readTools(sliceOf(body, split.tools))
    expect(tools).toMatchObject([{ type: 'function', function: { name: 'weather', parameters } }])
  }
})

const json = fc.jsonValue({ maxDepth: 4 })
const anything = fc.oneof(
  json,
  fc.record({ type: fc.string(), role: fc.string(), content: json }, { requiredKeys: [] }),
)

test('anything that an upstream might accept has a meaning and a reading', () => {
  fc.assert(
    fc.property(
      fc.array(anything, { minLength: 1, maxLength: 5 }),
      fc.constantFrom('messages', 'responses'),
      (list, name) => {
        const key = name === 'messages' ? 'messages' : 'input'
        const { split, body } = canonical(name, { model: 'm', [key]: list })
        for (const slice of split.messages) {
          expect(dialect(name).readMessages(sliceOf(body, slice)).length).toBeGreaterThan(0)
        }
      },
    ),
    { numRuns: 300 },
  )
})

const event = (value: { type: string }) => `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`

function assemble(name: string, stream: string, cuts: readonly number[] = []) {
  const assembler = dialect(name).assembler()
  const bytes = Buffer.from(stream)
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]
  for (let at = 0; at + 1 < places.length; at++) assembler.push(bytes.subarray(places[at], places[at + 1]))
  const reply = assembler.reply()
  return { assembler, text: reply === null ? null : Buffer.from(reply).toString() }
}

const anthropicStream = [
  {
    type: 'message_start',
    message: {
      id: 'm',
      role: 'assistant',
      content: [],
      stop_reason: null,
      usage: { input_tokens: 3, output_tokens: 1 },
    },
  },
  { type: 'ping' },
  { type: 'content_block_start', index: 0, content_block: { type: 'thinking', thinking: '', signature: '' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'thinking_delta', thinking: 'Hm, é.' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'signature_delta', signature: 'sig' } },
  { type: 'content_block_stop', index: 0 },
  { type: 'content_block_start', index: 1, content_block: { type: 'text', text: '' } },
  { type: 'content_block_delta', index: 1, delta: { type: 'text_delta', text: 'Well, 🙂' } },
  {
    type: 'content_block_start',
    index: 2,
    content_block: { type: 'tool_use', id: 't', name: 'f', input: {} },
  },
  {
    type: 'content_block_delta',
    index: 2,
    delta: { type: 'input_json_delta', partial_json: '{"n": 12345678901234' },
  },
  { type: 'content_block_delta', index: 2, delta: { type: 'input_json_delta', partial_json: '567890}' } },
  { type: 'an_event_of_tomorrow', index: 2 },
  {
    type: 'message_delta',
    delta: { stop_reason: 'tool_use', stop_sequence: null },
    usage: { output_tokens: 9 },
    context_management: { applied_edits: [] },
  },
  { type: 'message_stop' },
].map(event)

test('a streamed message of Anthropic’s is put together, however it is cut, with its numbers as written', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(), { maxLength: 12 }), (cuts) => {
      const { assembler, text } = assemble('messages', anthropicStream.join(''), cuts)
      expect(assembler.terminated).toBe(true)
      expect(text).toContain('"input":{"n": 12345678901234567890}')
      expect(JSON.parse(text ?? '')).toMatchObject({
        content: [
          { type: 'thinking', thinking: 'Hm, é.', signature: 'sig' },
          { type: 'text', text: 'Well, 🙂' },
          { type: 'tool_use', id: 't' },
        ],
        stop_reason: 'tool_use',
        context_management: { applied_edits: [] },
        usage: { input_tokens: 3, output_tokens: 9 },
      })
      expect(dialect('messages').splitReply(Buffer.from(text ?? ''))).toMatchObject({
        choices: [{ finishReason: 'tool_calls' }],
        usage: { prompt_tokens: 3, completion_tokens: 9, total_tokens: 12 },
      })
    }),
  )
})

const failure = 'event: error\ndata: {"type":"error","error":{"message":"Overloaded"}}\n\n'

test('a stream that is cut has what had come, and is not over', () => {
  const { assembler, text } = assemble('messages', anthropicStream.slice(0, 10).join(''))
  expect([assembler.terminated, assembler.finished]).toEqual([false, false])
  expect(JSON.parse(text ?? '').content[2]).toMatchObject({ input: '{"n": 12345678901234' })
  expect(assemble('messages', failure).assembler.error).toBe('Overloaded')
})

const item = { type: 'message', id: 'msg', role: 'assistant', content: [] }
const made = {
  type: 'message',
  id: 'msg',
  role: 'assistant',
  content: [{ type: 'output_text', text: 'Hi 🙂' }],
}
const responseStream = [
  { type: 'response.created', response: { id: 'resp_9', status: 'in_progress', model: 'm', output: [] } },
  { type: 'response.output_item.added', output_index: 0, item },
  {
    type: 'response.content_part.added',
    output_index: 0,
    content_index: 0,
    part: { type: 'output_text', text: '' },
  },
  { type: 'response.output_text.delta', output_index: 0, content_index: 0, delta: 'Hi ' },
  { type: 'response.output_text.delta', output_index: 0, content_index: 0, delta: '🙂' },
  { type: 'response.output_item.done', output_index: 0, item: made },
].map(event)
const lastEvent =
  'event: response.completed\ndata: {"type":"response.completed","response":{"id":"resp_9","seed": 12345678901234567890,"status":"completed","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hi 🙂"}]}]}}\n\n'

test('a streamed response is the bytes of its last event; one that was cut is what had come', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(), { maxLength: 12 }), (cuts) => {
      const { assembler, text } = assemble('responses', responseStream.join('') + lastEvent, cuts)
      expect(assembler.terminated).toBe(true)
      expect(text).toContain('"seed": 12345678901234567890')
      expect(dialect('responses').splitReply(Buffer.from(text ?? ''))).toMatchObject({
        id: 'resp_9',
        choices: [{ finishReason: 'stop' }],
      })
    }),
  )
  for (const count of [5, 6]) {
    const { assembler, text } = assemble('responses', responseStream.slice(0, count).join(''))
    expect(assembler.terminated).toBe(false)
    expect(JSON.parse(text ?? '').output).toMatchObject([{ content: [{ text: 'Hi 🙂' }] }])
  }
})

test('of a response that was cut, what every kind of call had come to is kept', () => {
  const kinds = {
    function_call: ['function_call_arguments', 'arguments'],
    mcp_call: ['mcp_call_arguments', 'arguments'],
    custom_tool_call: ['custom_tool_call_input', 'input'],
    code_interpreter_call: ['code_interpreter_call_code', 'code'],
  }
  const events = Object.entries(kinds).flatMap(([type, [name]], output_index) => [
    { type: 'response.output_item.added', output_index, item: { type } },
    ...['{"a"', ':1'].map((delta) => ({ type: `response.${name}.delta`, output_index, delta })),
  ])
  const { text } = assemble('responses', [...responseStream.slice(0, 1), ...events.map(event)].join(''))
  expect(JSON.parse(text ?? '').output).toEqual(
    Object.entries(kinds).map(([type, [, field = '']]) => ({ type, [field]: '{"a":1' })),
  )
})

test('a streamed text completion is put together', () => {
  const chunk = (text: string, reason: string | null) =>
    `data: ${JSON.stringify({ id: 'c', object: 'text_completion', choices: [{ index: 0, text, finish_reason: reason }] })}\n\n`
  const { assembler, text } = assemble(
    'completions',
    `${chunk('one ', null)}${chunk('two', 'stop')}data: [DONE]\n\n`,
  )
  expect(assembler.terminated).toBe(true)
  expect(JSON.parse(text ?? '')).toMatchObject({ object: 'text_completion', choices: [{ text: 'one two' }] })
})
