import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { loadGguf } from '../../src/engine/io/gguf.ts'
import { ggufTokenizer } from '../../src/engine/tokenizer/gguf-tokenizer.ts'
import { defaultText, fixture } from './default-model.ts'
import { type GgufField, tinyLlama, writeGguf } from './gguf-writer.ts'

const { tokenizer } = defaultText()
const rows = z.array(z.object({ text: z.string(), ids: z.array(z.number()) })).parse(fixture('tokens'))

describe('the default tokenizer', () => {
  test('gives the ids of llama.cpp and of the published tokenizer for 50 texts', () => {
    expect(rows).toHaveLength(50)
    for (const { text, ids } of rows) expect([...tokenizer.encode(text)], JSON.stringify(text)).toEqual(ids)
  })

  test('splits digits before it looks at blanks', () => {
    expect([...tokenizer.encode('a  1')]).toEqual([81, 256, 33])
  })

  test('decodes what it encoded', () => {
    for (const { text, ids } of rows) expect(tokenizer.decode(ids)).toBe(text)
  })

  test('knows its special tokens', () => {
    const end = tokenizer.idOf('<|im_end|>')
    expect(end).toBe(tokenizer.eosTokenId)
    expect(tokenizer.isSpecial(2)).toBe(true)
    expect(tokenizer.isSpecial(81)).toBe(false)
    expect(tokenizer.tokenOf(2)).toBe('<|im_end|>')
    expect(tokenizer.vocabSize).toBe(49_152)
    const ids = tokenizer.encode('<|im_start|>user\nhi<|im_end|>')
    expect(tokenizer.decode(ids)).toBe('<|im_start|>user\nhi<|im_end|>')
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe('user\nhi')
  })

  test('a token outside the vocabulary is an error', () => {
    expect(() => tokenizer.decode([49_152])).toThrow(expect.objectContaining({ code: 'invalid_request' }))
  })

  test('offsets cut the text where the tokens meet', () => {
    for (const { text } of rows) {
      const { ids, starts, ends } = tokenizer.encodeWithOffsets(text)
      // Tokens of one character share its range.
      const pieces = [...ids].map((_, i) => text.slice(Math.max(starts[i] ?? 0, ends[i - 1] ?? 0), ends[i]))
      expect(pieces.join('')).toBe(text)
    }
  })
})

describe('streaming', () => {
  test('never gives out half a character', () => {
    const text = '🙂 你好 👨‍👩‍👧 é'
    const stream = tokenizer.decodeStream()
    const pieces = [...tokenizer.encode(text)].map((id) => stream.push(id))
    expect(pieces.join('') + stream.flush()).toBe(text)
    expect(pieces.filter((piece) => piece === '').length).toBeGreaterThan(0)
    for (const piece of pieces) expect(piece).not.toContain('\uFFFD')
  })

  test('ends an unfinished character with U+FFFD', () => {
    const [first = 0] = tokenizer.encode('🙂')
    const stream = tokenizer.decodeStream()
    expect(stream.push(first)).toBe('')
    expect(stream.flush()).toBe('\uFFFD')
  })

  test('in pieces and at once are the same for any ids', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 49_151 }), { maxLength: 30 }), (ids) => {
        const stream = tokenizer.decodeStream()
        expect(ids.map((id) => stream.push(id)).join('') + stream.flush()).toBe(tokenizer.decode(ids))
      }),
      { numRuns: 200 },
    )
  })
})

describe('a damaged tokenizer', () => {
  const cases: [string, Record<string, GgufField>, RegExp][] = [
    [
      'another kind',
      { 'tokenizer.ggml.model': ['string', 'llama'] },
      /llama with pre-tokenizer smollm is not/,
    ],
    ['another pre-tokenizer', { 'tokenizer.ggml.pre': ['string', 'martian'] }, /martian/],
    [
      'the same token twice',
      { 'tokenizer.ggml.tokens': ['strings', ['x', 'x', 'a', 'b', 'ab']] },
      /two tokens/,
    ],
    ['a merge of one', { 'tokenizer.ggml.merges': ['strings', ['ab']] }, /merge 0/],
    [
      'a token outside the alphabet',
      { 'tokenizer.ggml.tokens': ['strings', ['<|im_start|>', '<|im_end|>', 'a b', 'b', 'ab']] },
      /token 2/,
    ],
  ]
  test.each(cases)('%s is refused', (_name, fields, problem) => {
    const folder = mkdtempSync(join(tmpdir(), 'shadow-tokenizer-'))
    const path = join(folder, 'model.gguf')
    writeFileSync(path, writeGguf(tinyLlama(fields)))
    using model = loadGguf(path)
    expect(() => ggufTokenizer(model.tokenizer)).toThrow(problem)
    rmSync(folder, { recursive: true })
  })
})
