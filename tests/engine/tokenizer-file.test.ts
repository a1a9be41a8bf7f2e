import { describe, expect, test } from 'vitest'
import { ChatTemplate } from '../../src/engine/tokenizer/chat-template.ts'
import { parseTokenizer } from '../../src/engine/tokenizer/tokenizer-file.ts'
import { publishedTemplate, readConversations, tokenizersOf } from './conversations.ts'

const bytes = (value: unknown): Uint8Array =>
  new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value))

const bpe = { type: 'BPE', vocab: { a: 0, b: 1, ab: 2 }, merges: [['a', 'b']] }
const parse = (tokenizer: unknown, tokenizerConfig?: unknown) =>
  parseTokenizer(
    {
      tokenizer: bytes(tokenizer),
      tokenizerConfig: tokenizerConfig === undefined ? undefined : bytes(tokenizerConfig),
    },
    'X',
  )

describe('tokenizer.json', () => {
  test('the least there can be', () => {
    const { tokenizer, chatTemplate } = parse({ model: bpe })
    expect([...tokenizer.encode('abba')]).toEqual([2, 1, 0])
    expect(chatTemplate).toBeUndefined()
  })

  test('names, templates and ends come from the files beside it', () => {
    const special = (id: number, content: string) => ({ id, content, special: true, normalized: false })
    const { tokenizer, chatTemplate } = parseTokenizer({
      tokenizer: bytes({
        model: bpe,
        added_tokens: [special(3, '<s>'), special(4, '</s>'), special(5, '<e>')],
      }),
      tokenizerConfig: bytes({
        bos_token: { content: '<s>', lstrip: false },
        eos_token: '</s>',
        chat_template: [
          { name: 'default', template: 'no' },
          { name: 'tool_use', template: '{{ bos_token }}{{ messages[0].content }}' },
        ],
      }),
      generationConfig: bytes({ eos_token_id: [4, 5] }),
    })
    expect(tokenizer).toMatchObject({ bosTokenId: 3, eosTokenId: 4, endTokenIds: [4, 5], vocabSize: 6 })
    expect(chatTemplate?.render([{ role: 'user', content: 'ab' }])).toBe('<s>ab')
    const written = {
      tokenizer: bytes({ model: bpe }),
      chatTemplate: bytes('file'),
      tokenizerConfig: bytes({ chat_template: 'config' }),
    }
    expect(parseTokenizer(written).chatTemplate?.render([])).toBe('file')
  })

  const deep = (depth: number): string => `{"model":${'['.repeat(depth)}${']'.repeat(depth)}}`
  const cases: [string, unknown, RegExp][] = [
    ['no JSON', '{', /X: tokenizer.json: .*is not a JSON object/],
    ['no UTF-8', '\ud800'.padEnd(3, '"'), /X: tokenizer.json: .*is not a JSON object/],
    ['a list', [], /tokenizer.json: .*a JSON object was expected/],
    ['no model', {}, /tokenizer.json: model/],
    ['nesting without end', deep(50_000), /tokenizer.json: .*nested more than 512 deep/],
    ['an unknown model', { model: { type: 'Martian' } }, /model.type/],
    [
      'an id beyond reason',
      { model: { ...bpe, vocab: { a: 0, b: 4_000_000_000 } } },
      /model.vocab.b is not an id/,
    ],
    ['a negative id', { model: { ...bpe, vocab: { a: -1 } } }, /model.vocab.a is not an id/],
    ['an id twice', { model: { ...bpe, vocab: { a: 1, b: 1 } } }, /model.vocab.b has the id of another/],
    ['a merge of strangers', { model: { ...bpe, merges: [['a', 'x']] } }, /model.merges.0 joins what is not/],
    ['a merge of three', { model: { ...bpe, merges: ['a b c'] } }, /model.merges.0/],
    ['dropout', { model: { ...bpe, dropout: 0.1 } }, /model.dropout/],
    [
      'an unknown token that is none',
      { model: { ...bpe, unk_token: '?' } },
      /model.unk_token is not in the voc/,
    ],
    [
      'scores that are none',
      { model: { type: 'Unigram', vocab: [['a', 'x']], unk_id: 0 } },
      /model.vocab.0.1/,
    ],
    [
      'an unknown id beyond the list',
      { model: { type: 'Unigram', vocab: [['a', 1]], unk_id: 7 } },
      /model.unk_id/,
    ],
    [
      'words without an unknown',
      { model: { type: 'WordPiece', vocab: { a: 0 }, unk_token: '?' } },
      /unk_token/,
    ],
    [
      'an added token far away',
      { model: bpe, added_tokens: [{ id: 1e9, content: 'x' }] },
      /added_tokens.0.id/,
    ],
    [
      'an empty added token',
      { model: bpe, added_tokens: [{ id: 3, content: '' }] },
      /added_tokens.0.content/,
    ],
    [
      'a pattern that is none',
      { model: bpe, pre_tokenizer: { type: 'Split', pattern: { Regex: '(' }, behavior: 'Isolated' } },
      /pre_tokenizer.pattern/,
    ],
    [
      'an unknown step',
      { model: bpe, pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'Odd' }] } },
      /pre_tokenizer.pretokenizers.0.type/,
    ],
    [
      'sequences in sequences',
      { model: bpe, normalizer: { type: 'Sequence', normalizers: [{ type: 'Sequence', normalizers: [] }] } },
      /normalizer.normalizers.0.type/,
    ],
    [
      'a character map',
      { model: bpe, normalizer: { type: 'Precompiled', precompiled_charsmap: '' } },
      /normalizer.type/,
    ],
    [
      'a chain that doubles a text over and over',
      {
        model: bpe,
        normalizer: {
          type: 'Sequence',
          normalizers: Array.from({ length: 40 }, () => ({
            type: 'Replace',
            pattern: { String: 'a' },
            content: 'aa',
          })),
        },
      },
      /normalizer may make texts more than 100 times longer/,
    ],
    [
      'a replacement that is a book',
      { model: bpe, normalizer: { type: 'Replace', pattern: { String: 'a' }, content: 'x'.repeat(5000) } },
      /normalizer.content/,
    ],
    [
      'bytes of bytes of bytes',
      {
        model: bpe,
        normalizer: {
          type: 'Sequence',
          normalizers: Array.from({ length: 30 }, () => ({ type: 'ByteLevel' })),
        },
      },
      /normalizer may make texts/,
    ],
    [
      'marks before marks before marks',
      {
        model: bpe,
        pre_tokenizer: {
          type: 'Sequence',
          pretokenizers: Array.from({ length: 30 }, () => ({ type: 'Metaspace' })),
        },
      },
      /pre_tokenizer.pretokenizers may make texts/,
    ],
    [
      'a decoder that doubles a token over and over',
      {
        model: bpe,
        decoder: {
          type: 'Sequence',
          decoders: Array.from({ length: 40 }, () => ({
            type: 'Replace',
            pattern: { String: 'a' },
            content: 'aa',
          })),
        },
      },
      /decoder.decoders may make tokens/,
    ],
    [
      'a decoder with a pattern',
      {
        model: bpe,
        decoder: { type: 'Sequence', decoders: [{ type: 'Replace', pattern: { Regex: 'x' }, content: '' }] },
      },
      /decoder.decoders.0/,
    ],
  ]
  test.each(cases)('%s is refused by name', (_name, tokenizer, problem) => {
    expect(() => parse(tokenizer)).toThrow(problem)
    expect(() => parse(tokenizer)).toThrow(expect.objectContaining({ code: 'invalid_file' }))
  })

  test('names of object members are tokens like others', () => {
    const { tokenizer } = parse(
      '{"model":{"type":"BPE","vocab":{"__proto__":0,"constructor":1,"c":2},"merges":[]}}',
    )
    expect(tokenizer.idOf('__proto__')).toBe(0)
    expect(tokenizer.idOf('constructor')).toBe(1)
    expect(tokenizer.idOf('toString')).toBeUndefined()
  })

  test('post-processors are not read, however they are made', () => {
    expect(
      parse({ model: bpe, post_processor: { type: 'Sequence', processors: [[[]]] } }).tokenizer.vocabSize,
    ).toBe(3)
  })

  test('settings and templates beside it are checked too', () => {
    expect(() => parse({ model: bpe }, { eos_token: 4 })).toThrow(/X: tokenizer_config.json: eos_token/)
    expect(() => parse({ model: bpe }, { chat_template: '{% for %}' })).toThrow(
      /chat template cannot be read/,
    )
    expect(() =>
      parseTokenizer(
        { tokenizer: bytes({ model: bpe }), generationConfig: bytes({ eos_token_id: 'x' }) },
        'X',
      ),
    ).toThrow(/X: generation_config.json: eos_token_id/)
    expect(() =>
      parseTokenizer({ tokenizer: bytes({ model: bpe }), chatTemplate: Uint8Array.of(0xff) }, 'X'),
    ).toThrow(/X: chat_template.jinja: is not UTF-8/)
  })
})

describe('templates', () => {
  const conversations = readConversations()
  const tokenizer = tokenizersOf(conversations).get('byte-level')

  test('those without markers give the same masks', () => {
    const chat = conversations.conversations.find(({ messages }) => messages.length > 3)
    const lossOn = chat?.messages.map(({ role }) => role === 'assistant') ?? []
    if (tokenizer === undefined || chat === undefined) throw new Error('The fixture lacks a conversation.')
    const template = new ChatTemplate(publishedTemplate('thinking'), tokenizer)
    expect(template.encode(chat.messages, { lossOn }).spans).toHaveLength(lossOn.filter(Boolean).length)
  })

  test('a loop that only some conversations reach ends with an error', { timeout: 60_000 }, () => {
    if (tokenizer === undefined) throw new Error('The fixture lacks a tokenizer.')
    const spin = '{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}'
    const template = new ChatTemplate(`{% if messages | length > 1 %}${spin}{% endif %}x`, tokenizer, {
      timeLimitMs: 300,
    })
    expect(template.render([{ role: 'user', content: '' }])).toBe('x')
    const long = [
      { role: 'user', content: '' },
      { role: 'user', content: '' },
    ]
    expect(() => template.render(long)).toThrow(
      /chat template or tokenizer does not end with this conversation/,
    )
  })

  test('a pattern that backtracks for ever ends with an error', () => {
    const { tokenizer: slow } = parse({
      model: bpe,
      pre_tokenizer: { type: 'Split', pattern: { Regex: '(a+)+b' }, behavior: 'Isolated' },
    })
    const template = new ChatTemplate('{{ messages[0].content }}', slow, { timeLimitMs: 300 })
    expect(() => template.encodePrompt([{ role: 'user', content: 'a'.repeat(60) }])).toThrow(
      /tokenizer does not end/,
    )
  })
})
