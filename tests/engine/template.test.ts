import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { ChatTemplate } from '../../src/engine/tokenizer/chat-template.ts'
import { parseToolCalls } from '../../src/engine/tokenizer/tool-text.ts'
import { defaultText, fixture } from './default-model.ts'

const { tokenizer, template } = defaultText()
const chats = z
  .array(
    z.object({
      messages: z.array(z.object({ role: z.string(), content: z.string() })),
      text: z.string(),
      prompt: z.string(),
      ids: z.array(z.number()),
      mask: z.array(z.number()),
    }),
  )
  .parse(fixture('chats'))

const weather = {
  type: 'function',
  function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
}
const call = { id: 'c1', type: 'function', function: { name: 'weather', arguments: '{"city": "Rome"}' } }

describe('against transformers', () => {
  test.each(chats.map((chat) => [JSON.stringify(chat.messages).slice(0, 80), chat] as const))(
    '%s',
    (_name, chat) => {
      expect(template.render(chat.messages)).toBe(chat.text)
      expect(template.render(chat.messages, { addGenerationPrompt: true })).toBe(chat.prompt)
      const lossOn = chat.messages.map((message) => message.role === 'assistant')
      const { ids, targetMask } = template.encode(chat.messages, { lossOn })
      expect([...ids]).toEqual(chat.ids)
      expect([...targetMask]).toEqual(chat.mask)
    },
  )
})

describe('targets', () => {
  const messages = [
    { role: 'user', content: 'a' },
    { role: 'assistant', content: 'first' },
    { role: 'user', content: 'b' },
    { role: 'assistant', content: 'second' },
  ]

  test('only the chosen turns are marked, each with its end and without the line break behind it', () => {
    const { ids, spans, targetMask } = template.encode(messages, { lossOn: [false, false, false, true] })
    expect(
      spans.map(({ message, start, end }) => [message, tokenizer.decode(ids.subarray(start, end))]),
    ).toEqual([[3, 'second<|im_end|>']])
    expect(targetMask.reduce((sum, bit) => sum + bit, 0)).toBe((spans[0]?.end ?? 0) - (spans[0]?.start ?? 0))
  })

  test('the tokens before a target are those that the model is asked with', () => {
    const { ids, spans } = template.encode(messages, { lossOn: [false, true, false, true] })
    for (const { message, start } of spans)
      expect([...ids.subarray(0, start)]).toEqual([...template.encodePrompt(messages.slice(0, message))])
  })

  test('a user message cannot be a target', () => {
    expect(() => template.encode(messages, { lossOn: [true, false, false, false] })).toThrow(/role is user/)
    expect(() => template.encode(messages, { lossOn: [true] })).toThrow(/lossOn has 1 entries for 4/)
  })
})

describe('plain messages', () => {
  test('null, absent and parts', () => {
    const messages = [
      { role: 'developer', content: 'Rule.' },
      {
        role: 'user',
        content: [{ type: 'text', text: 'one ' }, { type: 'text', text: 'two' }, { type: 'image_url' }],
      },
      { role: 'assistant', content: null },
      { role: 'user' },
    ]
    expect(template.render(messages)).toBe(
      '<|im_start|>system\nRule.<|im_end|>\n<|im_start|>user\none two<|im_end|>\n' +
        '<|im_start|>assistant\n<|im_end|>\n<|im_start|>user\n<|im_end|>\n',
    )
  })
})

describe('tools on a template without tools', () => {
  const messages = [
    { role: 'user', content: 'Weather in Rome?' },
    { role: 'assistant', content: null, tool_calls: [call] },
    { role: 'tool', tool_call_id: 'c1', content: '21 °C' },
    { role: 'tool', tool_call_id: 'c2', content: 'dry' },
    { role: 'assistant', content: '21 °C and dry.' },
  ]

  test('are shown as text, calls and results too', () => {
    const text = template.render(messages, { tools: [weather] })
    expect(text).toContain(
      `<|im_start|>system\nYou can call these functions:\n<tools>\n${JSON.stringify(weather.function)}\n</tools>`,
    )
    expect(text).toContain(
      'assistant\n<tool_call>{"name":"weather","arguments":{"city":"Rome"}}</tool_call><|im_end|>',
    )
    expect(text).toContain(
      '<|im_start|>user\n<tool_response>\n21 °C\n</tool_response>\n<tool_response>\ndry\n</tool_response><|im_end|>',
    )
  })

  test('join the system message that is there', () => {
    const text = template.render([{ role: 'system', content: 'Be kind.' }, ...messages], { tools: [weather] })
    expect(text.startsWith('<|im_start|>system\nBe kind.\n\nYou can call these functions:')).toBe(true)
  })

  test('calls can be targets, and are read back as they were', () => {
    const { ids, spans } = template.encode(messages, {
      tools: [weather],
      lossOn: [false, true, false, false, true],
    })
    const [first, second] = spans.map(({ start, end }) =>
      tokenizer.decode(ids.subarray(start, end), { skipSpecialTokens: true }),
    )
    expect(parseToolCalls(first ?? '')).toEqual({
      content: '',
      toolCalls: [{ name: 'weather', arguments: '{"city":"Rome"}' }],
    })
    expect(second).toBe('21 °C and dry.')
    expect(spans.map(({ message }) => message)).toEqual([1, 4])
  })
})

describe('other templates', () => {
  test('one that knows tools gets them, with arguments as objects', () => {
    const source =
      '{% if tools %}{% for t in tools %}[{{ t.function.name }}]{% endfor %}{% endif %}{% for m in messages %}' +
      '<|im_start|>{{ m.role }}:{{ m.content }}{% for c in m.tool_calls or [] %}!{{ c.function.arguments | tojson }}{% endfor %}' +
      '<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant:{% endif %}'
    const native = new ChatTemplate(source, tokenizer)
    const text = native.render(
      [
        { role: 'user', content: 'x' },
        { role: 'assistant', content: '', tool_calls: [call] },
      ],
      {
        tools: [weather],
      },
    )
    expect(text).toBe(
      '[weather]<|im_start|>user:x<|im_end|><|im_start|>assistant:!{"city": "Rome"}<|im_end|>',
    )
  })

  test('one that renders history otherwise than the present is searched for the turn', () => {
    const source =
      '{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == "assistant" and not loop.last %}(old) {% endif %}' +
      '{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>{% endif %}'
    const odd = new ChatTemplate(source, tokenizer)
    const messages = [
      { role: 'user', content: 'q' },
      { role: 'assistant', content: 'answer' },
      { role: 'user', content: 'r' },
    ]
    const { ids, spans } = odd.encode(messages, { lossOn: [false, true, false] })
    expect(spans.map(({ start, end }) => tokenizer.decode(ids.subarray(start, end)))).toEqual([
      ' answer<|im_end|>',
    ])
  })

  test('one that hides a turn is an error', () => {
    const hiding = new ChatTemplate(
      '{% for m in messages %}{% if m.role == "user" %}{{ m.content }}{% endif %}{% endfor %}!',
      tokenizer,
    )
    expect(() =>
      hiding.encode(
        [
          { role: 'user', content: 'q' },
          { role: 'assistant', content: 'a' },
        ],
        { lossOn: [false, true] },
      ),
    ).toThrow(/does not show where message 1 stands/)
  })

  test('one that refuses or cannot be read is a typed error', () => {
    const strict = new ChatTemplate("{{ raise_exception('roles must alternate') }}", tokenizer)
    expect(() => strict.render([{ role: 'user', content: 'x' }])).toThrow(
      /refuses this conversation: .*must alternate/,
    )
    expect(() => new ChatTemplate('{% for %}', tokenizer)).toThrow(
      expect.objectContaining({ code: 'invalid_file' }),
    )
  })
})

describe('tool calls in text', () => {
  const f = (args = '{}'): { name: string; arguments: string } => ({ name: 'f', arguments: args })
  const cases: [string, string, string, ReturnType<typeof f>[]][] = [
    ['no call', 'plain  text\n', 'plain  text\n', []],
    ['one call', '<tool_call>{"name":"f","arguments":{"a":1}}</tool_call>', '', [f('{"a":1}')]],
    ['text around', 'Let me see. <tool_call>{"name":"f"}</tool_call> Done.', 'Let me see.  Done.', [f()]],
    [
      'two calls',
      '<tool_call>{"name":"f"}</tool_call>\n<tool_call>{"name":"f","arguments":{"b":2}}</tool_call>',
      '',
      [f(), f('{"b":2}')],
    ],
    ['never closed', 'Well <tool_call>\n{"name":"f","arguments":{}}', 'Well', [f()]],
    ['junk before the object', '<tool_call>sure: {"name":"f"}</tool_call>', '', [f()]],
    ['junk behind the object', '<tool_call>{"name":"f"} and so on}</tool_call>', '', [f()]],
    ['an object without a name first', '<tool_call>{"x":1} {"name":"f"}</tool_call>', '', [f()]],
    ['a fence', '<tool_call>\n```json\n{"name":"f"}\n```\n</tool_call>', '', [f()]],
    ['not JSON', 'a <tool_call>f(1)</tool_call> b', 'a  b', []],
    [
      'braces in strings',
      '<tool_call>{"name":"f","arguments":{"s":"}{\\""}}</tool_call>',
      '',
      [f('{"s":"}{\\""}')],
    ],
    [
      'arguments as text',
      '<tool_call>{"name":"f","arguments":"{\\"a\\":1}"}</tool_call>',
      '',
      [f('{"a":1}')],
    ],
    ['cut in the object', 'x <tool_call>{"name":"f","argu', 'x', []],
    ['an open tag inside', '<tool_call><tool_call>{"name":"f"}</tool_call>', '', [f()]],
  ]
  test.each(cases)('%s', (_name, reply, content, toolCalls) => {
    expect(parseToolCalls(reply)).toEqual({ content, toolCalls })
  })
})
