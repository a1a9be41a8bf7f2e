/** Tokenizer files of Hugging Face folders, right ones and spoiled ones. */
import type { Chance } from './chance.ts'
import { chatTemplates } from './gguf.ts'
import { type Json, mutateJson, spoiledText } from './mutate.ts'

const added: Json = [
  {
    id: 8,
    content: '<|im_start|>',
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  },
  {
    id: 9,
    content: '<|im_end|>',
    special: true,
    single_word: true,
    lstrip: true,
    rstrip: true,
    normalized: true,
  },
]
const words = ['[UNK]', 'a', 'b', 'ab', '1', '##b', 'Ġ', '▁a']
const vocab: Json = Object.fromEntries(words.map((word, id) => [word, id]))
const split: Json = {
  type: 'Split',
  pattern: { Regex: "'s|\\p{L}+|\\s+(?!\\S)|\\s+" },
  behavior: 'Isolated',
  invert: false,
}

const tokenizers: readonly Record<string, Json>[] = [
  {
    added_tokens: added,
    normalizer: { type: 'Sequence', normalizers: [{ type: 'NFC' }, { type: 'Lowercase' }] },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [split, { type: 'ByteLevel', add_prefix_space: false, use_regex: false }],
    },
    model: { type: 'BPE', vocab, merges: [['a', 'b']], unk_token: '[UNK]', byte_fallback: false },
    decoder: { type: 'ByteLevel' },
  },
  {
    added_tokens: added,
    normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first', split: true },
    model: { type: 'Unigram', unk_id: 0, vocab: words.map((word, id) => [word, -id]), byte_fallback: false },
    decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first' },
  },
  {
    added_tokens: added,
    normalizer: { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, lowercase: true },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    model: {
      type: 'WordPiece',
      vocab,
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
  },
]

const config: Json = {
  bos_token: '<|im_start|>',
  eos_token: { content: '<|im_end|>' },
  chat_template: "{% for message in messages %}{{ message['content'] }}{% endfor %}",
}

/** tokenizer.json, tokenizer_config.json and generation_config.json, one of them spoiled. */
export function spoiledTokenizer(chance: Chance): readonly (readonly [string, Buffer])[] {
  const files: [string, Json][] = [
    ['tokenizer.json', chance.pick(tokenizers)],
    ['tokenizer_config.json', config],
    ['generation_config.json', { eos_token_id: [9] }],
  ]
  const turn = chance.is(0.7) ? 0 : 1 + chance.below(2)
  return files.map(([name, value], index) => {
    if (index !== turn) return [name, Buffer.from(JSON.stringify(value))]
    if (index === 1 && chance.is(0.2))
      return [name, Buffer.from(JSON.stringify({ chat_template: chance.pick(chatTemplates) }))]
    let spoiled = value
    for (let times = 1 + chance.below(2); times > 0; times--) spoiled = mutateJson(spoiled, chance)
    return [name, Buffer.from(spoiledText(spoiled, chance))]
  })
}
