/** The pre-tokenizer `qwen2` of GGUF files gives the ids of llama.cpp. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { ggufTokenizer } from '../../src/engine/tokenizer/gguf-tokenizer.ts'

const { tokens, merges, cases } = z
  .object({
    tokens: z.array(z.string()),
    merges: z.array(z.string()),
    cases: z.array(z.object({ text: z.string(), ids: z.array(z.number()) })),
  })
  .parse(JSON.parse(readFileSync(new URL('../fixtures/engine/qwen2-tokens.json', import.meta.url), 'utf8')))
const tokenizer = ggufTokenizer({
  model: 'gpt2',
  pre: 'qwen2',
  tokens,
  tokenTypes: Int32Array.from(tokens, (_, id) => (id < 2 ? 3 : 1)),
  merges,
  bosTokenId: undefined,
  eosTokenId: 1,
  paddingTokenId: undefined,
  addBosToken: false,
})

test.each(cases)('$text', ({ text, ids }) => {
  expect([...tokenizer.encode(text)]).toEqual(ids)
  expect(tokenizer.decode(ids)).toBe(text)
})
