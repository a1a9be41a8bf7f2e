import { expect, test } from 'vitest'
import { chat } from '../../src/dialects/index.ts'
import { textOfBytes } from '../../src/lib/json-slices.ts'

test('a request comes apart by the last of repeated fields', () => {
  const body = Buffer.from(
    '{"messages":[{"role":"user","content":"old"}],"model":"m","stream":true, "tools":[ ],"messages" : [ {"role":"user","content":"new"} ]}',
  )
  const split = chat.splitRequest(body)
  expect(split.messages.map((slice) => textOfBytes(body, slice))).toEqual(['{"role":"user","content":"new"}'])
  expect(split).toMatchObject({ modelName: 'm', stream: true })
  expect(split.tools && textOfBytes(body, split.tools)).toBe('[ ]')
})

test.each(['{}', '{"messages":[]}', '{"messages":{}}', '{"messages":"hi"}', '{"messages":null}'])(
  '%s holds no conversation',
  (body) => {
    expect(() => chat.splitRequest(Buffer.from(body))).toThrow('"messages" is missing')
  },
)

test('the leading instructions are what a task is recognised by', () => {
  const text = chat
    .splitRequest(
      Buffer.from(
        JSON.stringify({
          messages: [
            {
              role: 'system',
              content: [
                { type: 'text', text: 'You ' },
                { type: 'text', text: 'sort.' },
              ],
            },
            { role: 'developer', content: 'Briefly.' },
            { role: 'user', content: 'x' },
            { role: 'system', content: 'later' },
          ],
        }),
      ),
    )
    .systemText()
  expect(text).toBe('You sort.\nBriefly.')
})

test.each([
  [
    { role: 'function', name: 'f', content: 'x' },
    { role: 'tool', name: 'f', content: 'x' },
  ],
  [
    { role: 'user', content: ['a', 3] },
    {
      role: 'user',
      content: [
        { type: 'text', text: 'a' },
        { type: 'unknown', part: 3 },
      ],
    },
  ],
  [
    { role: 'user', content: 5 },
    { role: 'user', content: '5' },
  ],
  [
    { role: 'assistant', tool_calls: [{ id: 'c', type: 'custom', custom: { name: 'sh', input: 'ls' } }] },
    {
      role: 'assistant',
      tool_calls: [{ id: 'c', type: 'function', function: { name: 'sh', arguments: 'ls' } }],
    },
  ],
  [
    { role: 'assistant', tool_calls: [{ function: { name: 'f', arguments: { a: 1 } } }] },
    {
      role: 'assistant',
      tool_calls: [{ id: '', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }],
    },
  ],
  ['just text', { role: 'user', content: '"just text"' }],
])('%j can be read', (message, wanted) => {
  expect(chat.readMessages(Buffer.from(JSON.stringify(message)))[0]).toMatchObject(wanted)
})

test('what is no reply is none', () => {
  for (const body of ['', 'oops', '[]', '{"error":{}}', '{"choices":3}']) {
    expect(chat.splitReply(Buffer.from(body))).toBeNull()
  }
  expect(chat.splitReply(Buffer.from('{"choices":[{"text":"old"}],"usage":{"total_tokens":1}}'))).toEqual({
    id: null,
    choices: [],
    usage: null,
    model: null,
  })
})

test('a choice is told by its place where its index is no whole number', () => {
  const body = Buffer.from(
    '{"choices":[{"index":0.5,"message":{}},{"index":1e30,"message":{}},{"index":7,"message":{}}]}',
  )
  expect(chat.splitReply(body)?.choices.map(({ index }) => index)).toEqual([0, 1, 7])
})
