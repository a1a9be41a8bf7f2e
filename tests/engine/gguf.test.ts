import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gguf as packageGguf } from '@huggingface/gguf'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { FileWindow } from '../../src/engine/io/file-window.ts'
import { loadGguf } from '../../src/engine/io/gguf.ts'
import { readGgufHeader } from '../../src/engine/io/gguf-file.ts'
import { ShadowError } from '../../src/lib/error.ts'
import { defaultModelPath } from '../../src/setup/model.mjs'
import { fixture, openDefaultModel } from './default-model.ts'
import { type GgufSpec, type GgufTensorSpec, numbers, tinyLlama, writeGguf } from './gguf-writer.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'shadow-gguf-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

function fileOf(content: Uint8Array): string {
  const path = join(folder, `${createHash('sha256').update(content).digest('hex').slice(0, 12)}.gguf`)
  writeFileSync(path, content)
  return path
}

function problemOf(content: Uint8Array): ShadowError {
  try {
    loadGguf(fileOf(content))[Symbol.dispose]()
  } catch (thrown) {
    if (thrown instanceof ShadowError) return thrown
    throw thrown
  }
  throw new Error('The file was accepted')
}

describe('a right file', () => {
  test('the settings carry Hugging Face names', () => {
    using model = loadGguf(fileOf(writeGguf(tinyLlama())))
    expect(model.config).toMatchObject({
      model_type: 'llama',
      hidden_size: 8,
      intermediate_size: 6,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      num_key_value_heads: 1,
      head_dim: 4,
      rope_theta: 10_000,
      vocab_size: 5,
      tie_word_embeddings: true,
      max_position_embeddings: 64,
      bos_token_id: 0,
      eos_token_id: 1,
    })
    expect(model.config.rms_norm_eps).toBeCloseTo(1e-5, 10)
  })

  test('query and key rows come back in rotate-half order, others as they are', () => {
    using model = loadGguf(fileOf(writeGguf(tinyLlama())))
    const rowsOf = (name: string): number[] => {
      const data = model.tensors.get(name)?.read() ?? new Float32Array()
      return [...data].filter((_, i) => i % 8 === 0).map((first) => first / 8)
    }
    expect(rowsOf('model.layers.0.self_attn.q_proj.weight')).toEqual([0, 2, 1, 3, 4, 6, 5, 7])
    expect(rowsOf('model.layers.0.self_attn.k_proj.weight')).toEqual([0, 2, 1, 3])
    expect(rowsOf('model.layers.0.self_attn.v_proj.weight')).toEqual([0, 1, 2, 3])
  })

  test('an untied head is a tensor of its own', () => {
    const spec = tinyLlama()
    spec.tensors.push({ name: 'output.weight', shape: [5, 8], type: 0, data: numbers([5, 8]) })
    using model = loadGguf(fileOf(writeGguf(spec)))
    expect(model.config.tie_word_embeddings).toBe(false)
    expect(model.tensors.get('lm_head.weight')?.shape).toEqual([5, 8])
  })

  test.each([
    ['F16', 1, Uint8Array.from([0x00, 0x3c, 0x01, 0x00, 0x00, 0xc0, 0xff, 0x7b]), [1, 2 ** -24, -2, 65504]],
    ['BF16', 30, Uint8Array.from([0x80, 0x3f, 0x40, 0xc0]), [1, -3]],
    ['Q4_0', 2, block(18, [0x00, 0x40], [0x0f, 0xf0]), [2 * 7, 2 * -8]],
    ['Q4_1', 3, block(20, [0x00, 0x40, 0x00, 0x3c], [0x0f, 0xf0]), [2 * 15 + 1, 1]],
    ['Q8_0', 8, block(34, [0x00, 0x38], [127, 128]), [63.5, -64]],
  ])('%s blocks become float32', (_name, type, data, expected) => {
    const spec = tinyLlama()
    const columns = type === 1 ? 4 : type === 30 ? 2 : 32
    spec.tensors = spec.tensors.map((tensor) =>
      tensor.name === 'token_embd.weight' ? { name: tensor.name, shape: [1, columns], type, data } : tensor,
    )
    using file = new FileWindow(fileOf(writeGguf(spec)))
    const tensor = readGgufHeader(file).tensors.get('token_embd.weight')
    const decoded = tensor?.type.decode?.(file.bytes(tensor.start, tensor.bytes, 'test')) ?? []
    expect([...decoded].slice(0, expected.length)).toEqual(expected)
  })
})

describe('the default model', () => {
  test('every tensor equals the dequantised one of the reference, bit for bit', () => {
    const hashes = z
      .record(z.string(), z.object({ shape: z.array(z.number()), sha256: z.string() }))
      .parse(fixture('weights'))
    using model = openDefaultModel()
    expect([...model.tensors.keys()].toSorted()).toEqual(Object.keys(hashes).toSorted())
    const wrong = [...model.tensors].filter(([name, tensor]) => {
      const data = tensor.read()
      const hash = createHash('sha256').update(new Uint8Array(data.buffer)).digest('hex').slice(0, 16)
      return hash !== hashes[name]?.sha256 || tensor.shape.join() !== hashes[name]?.shape.join()
    })
    expect(wrong.map(([name]) => name)).toEqual([])
  })

  test('the header equals what @huggingface/gguf reads', async () => {
    const expected = await packageGguf(defaultModelPath(), { allowLocalFile: true })
    using file = new FileWindow(defaultModelPath())
    const { metadata, tensors } = readGgufHeader(file)
    const { version: _version, tensor_count, kv_count, ...fields } = expected.metadata
    expect([BigInt(tensors.size), BigInt(metadata.size)]).toEqual([tensor_count, kv_count])
    const plain = [...metadata].map(([key, value]) => [key, value instanceof Int32Array ? [...value] : value])
    expect(Object.fromEntries(plain)).toEqual(fields)
    expect(
      expected.tensorInfos.map(({ name, offset }) => [name, offset + expected.tensorDataOffset]),
    ).toEqual([...tensors.values()].map(({ name, start }) => [name, BigInt(start)]))
  })
})

describe('a file that nobody should trust', () => {
  const whole = writeGguf(tinyLlama())
  const withTensor = (change: Partial<GgufTensorSpec>): GgufSpec => {
    const spec = tinyLlama()
    return {
      ...spec,
      tensors: spec.tensors.map((tensor, i) => (i === 0 ? { ...tensor, ...change } : tensor)),
    }
  }
  const cases: [string, Uint8Array, RegExp][] = [
    ['empty', Buffer.alloc(0), /magic: this is not a GGUF file/],
    ['another format', Buffer.from('PK\u0003\u0004 something'), /magic: this is not a GGUF file/],
    ['an unknown version', writeGguf({ version: 9 }), /version: GGUF version 9/],
    ['big-endian', writeGguf({ version: 0x03000000 }), /version/],
    ['a header cut short', whole.subarray(0, 20), /tensor count|metadata count/],
    ['metadata cut short', whole.subarray(0, 300), /truncated/],
    [
      'data cut short',
      whole.subarray(0, whole.length - 64),
      /tensor blk.0.ffn_down.weight: its 192 bytes .*truncated/,
    ],
    ['more tensors than bytes', writeGguf({ tensorCount: 1n << 60n }), /tensor count/],
    ['more fields than bytes', writeGguf({ fieldCount: 1n << 40n }), /metadata count/],
    ['a huge dimension', writeGguf(withTensor({ shape: [1n << 62n, 8] })), /tensor token_embd.weight: shape/],
    [
      'a shape beyond the file',
      writeGguf(withTensor({ shape: [4000, 3000] })),
      /tensor token_embd.weight: (the )?shape/,
    ],
    ['a negative dimension', writeGguf(withTensor({ shape: [-1n, 8] })), /tensor token_embd.weight: shape/],
    ['an empty dimension', writeGguf(withTensor({ shape: [0, 8] })), /tensor token_embd.weight/],
    ['too many dimensions', writeGguf(withTensor({ shape: [1, 1, 1, 5, 8] })), /has 5 dimensions/],
    ['an offset beyond the file', writeGguf(withTensor({ offset: 1n << 20n })), /token_embd.weight: offset/],
    [
      'an offset past the last byte',
      writeGguf(withTensor({ offset: 1568n })),
      /token_embd.weight: its .* past the end/,
    ],
    ['a crooked offset', writeGguf(withTensor({ offset: 7n })), /not a multiple of 32/],
    ['an unknown tensor type', writeGguf(withTensor({ type: 99 })), /unknown type 99/],
    [
      'a type that is not read yet',
      writeGguf(withTensor({ shape: [5, 256], type: 10, data: new Uint8Array(420) })),
      /Q2_K/,
    ],
    [
      'a tensor twice',
      writeGguf({ ...tinyLlama(), tensors: [...tinyLlama().tensors, ...tinyLlama().tensors.slice(0, 1)] }),
      /twice/,
    ],
    [
      'a missing tensor',
      writeGguf({ ...tinyLlama(), tensors: tinyLlama().tensors.slice(0, -1) }),
      /output_norm.weight: is missing/,
    ],
    ['a wrong shape', writeGguf(withTensor({ shape: [8, 5] })), /tokens|shape/],
    [
      'another family',
      writeGguf(tinyLlama({ 'general.architecture': ['string', 'mamba'] })),
      /mamba is not supported/,
    ],
    [
      'a setting of the wrong type',
      writeGguf(tinyLlama({ 'llama.block_count': ['string', '1'] })),
      /llama.block_count: is not a number/,
    ],
    [
      'a missing setting',
      writeGguf(tinyLlama({ 'llama.context_length': undefined })),
      /llama.context_length: is missing/,
    ],
    ['no heads', writeGguf(tinyLlama({ 'llama.attention.head_count': ['u32', 0] })), /head_count: 0/],
    [
      'a million layers',
      writeGguf(tinyLlama({ 'llama.block_count': ['u32', 4_000_000_000] })),
      /block_count: 4000000000 layers/,
    ],
    [
      'rope scaling',
      writeGguf(
        tinyLlama({ 'llama.rope.scaling.type': ['string', 'su'], 'llama.rope.scaling.factor': ['f32', 2] }),
      ),
      /rope scaling su/,
    ],
    [
      'rope scaling by nothing',
      writeGguf(tinyLlama({ 'llama.rope.scaling.type': ['string', 'yarn'] })),
      /rope\.scaling\.factor: is missing/,
    ],
    [
      'experts',
      writeGguf(tinyLlama({ 'llama.expert_count': ['u32', 8] })),
      /expert_count: 8 is not supported/,
    ],
    [
      'scores scaled otherwise',
      writeGguf(tinyLlama({ 'llama.attention.scale': ['f32', 0.5] })),
      /attention\.scale: 0\.5 is not supported/,
    ],
    [
      'a part of each head that turns',
      writeGguf(tinyLlama({ 'llama.rope.dimension_count': ['u32', 2] })),
      /dimension_count: rope turns only 2 of 4/,
    ],
    [
      'too few tokens',
      writeGguf(tinyLlama({ 'tokenizer.ggml.tokens': ['strings', ['a']] })),
      /has 1 tokens for 5 rows/,
    ],
    [
      'an end token outside the vocabulary',
      writeGguf(tinyLlama({ 'tokenizer.ggml.eos_token_id': ['u32', 5] })),
      /token 5 is not/,
    ],
    ['an alignment of zero', writeGguf(tinyLlama({ 'general.alignment': ['u32', 0] })), /general.alignment/],
  ]
  test.each(cases)('%s is refused with the file and the field', (_name, content, problem) => {
    const error = problemOf(content)
    expect(error.code).toBe('invalid_file')
    expect(error.message).toMatch(problem)
    expect(error.message).toContain('.gguf')
    expect(error.hint).toBeTruthy()
  })

  test('every cut of a whole file is refused', () => {
    for (let length = 0; length < whole.length - 31; length += 7)
      expect(problemOf(whole.subarray(0, length)).code, `cut at ${length}`).toBe('invalid_file')
  })

  test('a file that is not there is another error', () => {
    expect(() => loadGguf(join(folder, 'nothing.gguf'))).toThrow(
      expect.objectContaining({ code: 'not_found' }),
    )
    expect(() => loadGguf(folder)).toThrow(expect.objectContaining({ code: 'invalid_file' }))
  })
})

/** One block: `head` bytes of scales, then `first` two values' bytes, the rest zero. */
function block(length: number, head: readonly number[], first: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(length)
  bytes.set([...head, ...first])
  return bytes
}
