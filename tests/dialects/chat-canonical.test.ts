import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { chat } from '../../src/dialects/index.ts'

/** The canonical texts of a conversation, as one word. */
function identity(...messages: unknown[]): string {
  const walk = chat.walk()
  return messages.map((message) => walk.message(Buffer.from(JSON.stringify(message))).text).join('\n')
}

const call = (id: string, args: unknown, name = 'find') => ({
  role: 'assistant',
  content: null,
  tool_calls: [{ id, type: 'function', function: { name, arguments: args } }],
})
const result = (id: string, content = 'found') => ({ role: 'tool', tool_call_id: id, content })

describe('the same conversation', () => {
  test.each([
    [
      'null, empty and absent content',
      { role: 'assistant', content: '' },
      { role: 'assistant', content: null },
    ],
    [
      'absent fields',
      { role: 'assistant' },
      { role: 'assistant', content: null, tool_calls: [], refusal: null },
    ],
    [
      'text in parts',
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
      },
      { role: 'user', content: 'ab' },
    ],
    [
      'cache control',
      { role: 'user', content: [{ type: 'text', text: 'a', cache_control: { type: 'ephemeral' } }] },
      { role: 'user', content: 'a' },
    ],
    [
      'reasoning and annotations that a client does not echo',
      { role: 'assistant', content: 'a', reasoning_content: 'hm', annotations: [{}], stop_reason: null },
      { role: 'assistant', content: 'a' },
    ],
    ['developer for system', { role: 'developer', content: 'a' }, { role: 'system', content: 'a' }],
    ['the order of members', { role: 'user', content: 'a' }, { content: 'a', role: 'user' }],
  ])('%s', (_what, one, other) => {
    expect(identity(one)).toBe(identity(other))
  })

  test('whatever the role and the text, a field that says nothing changes nothing', () => {
    const role = fc.oneof(
      fc.constantFrom('user', 'system', 'developer', 'assistant', 'tool', '__proto__'),
      fc.string(),
    )
    fc.assert(
      fc.property(role, fc.string({ unit: 'binary' }), (who, content) => {
        const said = identity({ role: who, content })
        expect(identity({ role: who, content, name: null })).toBe(said)
        expect(identity({ role: who, content: [{ type: 'text', text: content }] })).toBe(said)
      }),
      {
        examples: [
          ['user', '\ud800'],
          ['user', ''],
        ],
      },
    )
  })

  test('ids renumbered, arguments printed anew', () => {
    expect(identity(call('call_1', '{"b":1,"a":[1.0]}'), result('call_1'))).toBe(
      identity(call('x', '{ "a" : [1], "b" : 1 }'), result('x')),
    )
  })

  test('an id that is used again means the latest call', () => {
    expect(identity(call('c', '{}'), result('c'), call('c', '{"n":2}'), result('c'))).toBe(
      identity(call('a', '{}'), result('a'), call('b', '{"n":2}'), result('b')),
    )
  })
})

describe('another conversation', () => {
  test.each([
    ['other text', { role: 'user', content: 'a' }, { role: 'user', content: 'a ' }],
    ['another role', { role: 'user', content: 'a' }, { role: 'assistant', content: 'a' }],
    ['values in arguments', call('c', '{"a":null}'), call('c', '{}')],
    ['empty text in arguments', call('c', '{"a":""}'), call('c', '{"a":null}')],
    ['big integers', call('c', '{"id":12345678901234567890}'), call('c', '{"id":12345678901234567891}')],
    ['text that is no JSON', call('c', 'a b'), call('c', '"a b"')],
    ['a user field', { role: 'user', content: 'a', file: 1 }, { role: 'user', content: 'a', file: 2 }],
    [
      'an image',
      { role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:a' } }] },
      { role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:b' } }] },
    ],
    ['a refusal', { role: 'assistant', refusal: 'no' }, { role: 'assistant', content: 'no' }],
  ])('%s', (_what, one, other) => {
    expect(identity(one)).not.toBe(identity(other))
  })

  test('results given to the other of two calls', () => {
    const two = {
      role: 'assistant',
      tool_calls: ['1', '2'].map((id) => ({
        id,
        type: 'function',
        function: { name: 'f', arguments: '{}' },
      })),
    }
    expect(identity(two, result('1', 'a'), result('2', 'b'))).not.toBe(
      identity(two, result('2', 'a'), result('1', 'b')),
    )
  })
})

test('leading instructions are the root; an assistant turn is a reply', () => {
  const walk = chat.walk()
  const places = [
    { role: 'system', content: 's' },
    { role: 'developer', content: 'd' },
    { role: 'user', content: 'u' },
    { role: 'system', content: 'late' },
    { role: 'assistant', content: 'a' },
  ].map((message) => walk.message(Buffer.from(JSON.stringify(message))))
  expect(places.map(({ isRoot }) => isRoot)).toEqual([true, true, false, false, false])
  expect(places.map(({ isReply }) => isReply)).toEqual([false, false, false, false, true])
})

test('no tools, null and an empty list are equal; annotations of a tool are no part of it', () => {
  const tools = (value: unknown) => chat.canonicalTools(Buffer.from(JSON.stringify(value)))
  expect(new Set([chat.canonicalTools(null), tools(null), tools([])]).size).toBe(1)
  const tool = { type: 'function', function: { name: 'f', parameters: { type: 'object' } } }
  expect(tools([{ ...tool, cache_control: {} }])).toBe(tools([tool]))
  expect(tools([tool])).not.toBe(tools([]))
})
