import fc from 'fast-check'
import { expect, test } from 'vitest'
import { chat } from '../../src/dialects/index.ts'

const event = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`
const delta = (fields: object, more: object = {}) =>
  event({
    id: 'c',
    object: 'chat.completion.chunk',
    model: 'm',
    choices: [{ index: 0, delta: fields, ...more }],
  })

function assembled(stream: string | Buffer, cuts: number[] = []) {
  const assembler = chat.assembler()
  const bytes = Buffer.from(stream)
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]
  for (let at = 0; at + 1 < places.length; at++) assembler.push(bytes.subarray(places[at], places[at + 1]))
  const reply = assembler.reply()
  return { assembler, reply: reply === null ? null : JSON.parse(Buffer.from(reply).toString()) }
}

test('text, reasoning, refusal, log-probabilities and unknown fields', () => {
  const { reply, assembler } = assembled(
    [
      ': a comment\n\n',
      delta({ role: 'assistant', content: '' }, { logprobs: null, finish_reason: null }),
      delta({ reasoning_content: 'hm ' }),
      delta({ reasoning_content: 'well' }),
      delta({ content: 'Grü' }, { logprobs: { content: [{ token: 'Grü' }], refusal: null } }),
      delta({ content: 'ße 👋' }, { logprobs: { content: [{ token: 'ße' }] }, token_ids: [1] }),
      delta({ refusal: 'no', mood: 'odd' }, { token_ids: [2, 3] }),
      delta({}, { finish_reason: 'stop', stop_reason: 7 }),
      event({
        id: 'c',
        choices: [],
        usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
        extra: 'kept',
      }),
      'data: [DONE]\n\n',
    ].join(''),
  )
  expect(assembler.terminated).toBe(true)
  expect(reply).toEqual({
    id: 'c',
    object: 'chat.completion',
    model: 'm',
    extra: 'kept',
    usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
    choices: [
      {
        index: 0,
        finish_reason: 'stop',
        stop_reason: 7,
        token_ids: [1, 2, 3],
        logprobs: { content: [{ token: 'Grü' }, { token: 'ße' }], refusal: null },
        message: {
          role: 'assistant',
          content: 'Grüße 👋',
          reasoning_content: 'hm well',
          refusal: 'no',
          mood: 'odd',
        },
      },
    ],
  })
})

test('tool calls by index, and by id where a server gives no index', () => {
  const call = (fields: object) => delta({ tool_calls: [fields] })
  const { reply } = assembled(
    call({ index: 0, id: 'a', type: 'function', function: { name: 'find', arguments: '' } }) +
      call({ index: 1, id: 'b', type: 'function', function: { name: 'send', arguments: '{' } }) +
      call({ index: 0, function: { arguments: '{"x":' } }) +
      call({ index: 1, function: { name: 'send', arguments: '}' } }) +
      call({ index: 0, id: '', function: { arguments: '1}' } }),
  )
  const wanted = [
    { id: 'a', type: 'function', function: { name: 'find', arguments: '{"x":1}' } },
    { id: 'b', type: 'function', function: { name: 'send', arguments: '{}' } },
  ]
  expect(reply.choices[0].message).toEqual({ role: 'assistant', content: null, tool_calls: wanted })
  const unnumbered = assembled(
    call({ id: 'a', type: 'function', function: { name: 'find', arguments: '{"x":' } }) +
      call({ function: { arguments: '1}' } }) +
      call({ id: 'b', type: 'function', function: { name: 'send', arguments: '{}' } }),
  )
  expect(unnumbered.reply.choices[0].message.tool_calls).toEqual(wanted)
})

test('several choices', () => {
  const choice = (index: number, content: string, reason: string | null = null) =>
    event({ choices: [{ index, delta: { content }, finish_reason: reason }] })
  const { reply, assembler } = assembled(choice(1, 'b') + choice(0, 'a', 'stop') + choice(1, 'B'))
  expect(reply.choices.map(({ message }: { message: { content: string } }) => message.content)).toEqual([
    'a',
    'bB',
  ])
  expect(assembler.finished).toBe(false)
})

test('however the bytes are cut and the lines end, the reply is the same', () => {
  const stream = [
    delta({ role: 'assistant', content: 'Zoë ' }),
    delta({ content: '日本👩‍🚀' }),
    'data: [DONE]\n\n',
  ].join('')
  const wanted = assembled(stream).reply
  fc.assert(
    fc.property(fc.array(fc.nat()), fc.constantFrom('\n', '\r\n', '\r'), (cuts, end) => {
      const { reply, assembler } = assembled(stream.replaceAll('\n', end), cuts)
      expect(reply).toEqual(wanted)
      expect(assembler.terminated).toBe(true)
    }),
  )
})

test.each([
  ['data: [DONE]', true],
  ['data:[DONE]\n', true],
  [delta({ content: 'data: [DONE]' }), false],
  [delta({ content: '[DONE]' }), false],
  ['data: [DON', false],
])('%j ends a stream: %s', (stream, ends) => {
  expect(assembled(delta({ content: 'x' }) + stream).assembler.terminated).toBe(ends)
})

test('an error inside the stream is noticed, and a field name means nothing', () => {
  const { assembler, reply } = assembled(
    delta({ content: 'x', __proto__: null }) +
      'data: {"choices":[{"index":0,"delta":{"__proto__":{"polluted":"yes"},"constructor":"c"}}]}\n\n' +
      event({ error: { message: 'overloaded' } }),
  )
  expect(assembler.error).toBe('overloaded')
  expect(reply.choices[0].message.content).toBe('x')
  expect(Reflect.get({}, 'polluted')).toBeUndefined()
})
