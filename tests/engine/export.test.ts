import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { createModel, loadLora, loadModel, openSafetensors, pack, Runtime } from '../../src/engine/index.ts'
import { exportModel } from '../../src/engine/io/export.ts'
import { encodeBF16, encodeF16, encodeQ8_0 } from '../../src/engine/io/ggml-encode.ts'
import { decodeBF16, decodeF16, ggmlTypes } from '../../src/engine/io/ggml-types.ts'
import { loadGguf } from '../../src/engine/io/gguf.ts'
import { loadAdapter, saveAdapter } from '../../src/engine/io/peft.ts'
import { writeTinyModel } from '../support/tiny-model.ts'
import { pseudoRandom } from './pseudo-random.ts'
import { randomAdapter } from './tiny-adapters.ts'
import { maxDifference } from './tiny-llama.ts'

const folder = mkdtempSync(join(tmpdir(), 'shadow-export-'))
afterAll(() => rmSync(folder, { recursive: true }))
const basePath = writeTinyModel(join(folder, 'base'))
const runtime = new Runtime({ threads: 2 })
const ids = [
  [2, 60, 71, 100, 31, 5, 77],
  [9, 8, 7],
]

const peft = join(folder, 'peft')
await saveAdapter(peft, randomAdapter(basePath))

function logitsOf(path: string, adapterFolder?: string): Float32Array {
  const { model } = loadModel(runtime, path)
  const adapter = adapterFolder === undefined ? undefined : loadLora(model, adapterFolder)
  return runtime.tidy(() => model.logits(model.hidden(pack(ids), adapter?.view() ?? null)).toFloat32Array())
}

const reference = logitsOf(basePath, peft)
const out = (name: string): string => join(folder, name)

describe('round trips without arithmetic change no tensor', () => {
  test('PEFT → mlx-lm → PEFT', async () => {
    const request = { basePath, adapterFolder: peft, format: 'mlx-lm' as const, outFolder: out('mlx') }
    await exportModel(request)
    await exportModel({ ...request, adapterFolder: out('mlx'), format: 'peft', outFolder: out('back') })
    const file = 'adapter_model.safetensors'
    expect(readFileSync(join(out('back'), file)).equals(readFileSync(join(peft, file)))).toBe(true)
    expect(loadAdapter(out('back')).config).toMatchObject({ r: 4, lora_alpha: 8 })
    expect(maxDifference(logitsOf(basePath, out('back')), reference)).toBe(0)
    using tensors = openSafetensors(join(out('mlx'), 'adapters.safetensors'))
    expect(tensors.tensors.get('model.layers.0.mlp.down_proj.lora_a')?.shape).toEqual([96, 4])
    expect(tensors.tensors.get('model.layers.0.mlp.down_proj.lora_b')?.shape).toEqual([4, 48])
  })

  test('GGUF f32 → GGUF f32: every tensor, the tokenizer and the template', async () => {
    const request = {
      basePath,
      adapterFolder: null,
      format: 'gguf',
      type: 'f32',
      outFolder: out('same'),
    } as const
    await exportModel(request)
    using before = loadGguf(basePath)
    using after = loadGguf(join(out('same'), 'model.f32.gguf'))
    expect(after.config).toEqual(before.config)
    expect(after.tokenizer).toEqual(before.tokenizer)
    expect(after.chatTemplate).toBe(before.chatTemplate)
    for (const [name, tensor] of before.tensors)
      expect(maxDifference(tensor.read(), after.tensors.get(name)?.read() ?? new Float32Array())).toBe(0)
  })

  test.each(['f16', 'q8_0'] as const)('GGUF %s → the same again', async (type) => {
    const request = { basePath, adapterFolder: null, format: 'gguf', type } as const
    await exportModel({ ...request, outFolder: out(type) })
    const file = `model.${type}.gguf`
    await exportModel({ ...request, basePath: join(out(type), file), outFolder: out(`${type}-2`) })
    expect(readFileSync(join(out(`${type}-2`), file)).equals(readFileSync(join(out(type), file)))).toBe(true)
  })
})

describe('merged models answer as base and adapter do', () => {
  test('GGUF f32', async () => {
    const request = {
      basePath,
      adapterFolder: peft,
      format: 'gguf',
      type: 'f32',
      outFolder: out('merged'),
    } as const
    await exportModel(request)
    const merged = logitsOf(join(out('merged'), 'model.f32.gguf'))
    expect(maxDifference(logitsOf(basePath), reference)).toBeGreaterThan(0.01)
    expect(maxDifference(merged, reference)).toBeLessThan(1e-5)
  })

  test('Hugging Face folder', async () => {
    await exportModel({ basePath, adapterFolder: peft, format: 'hf', outFolder: out('hf') })
    expect(readdirSync(out('hf')).toSorted()).toEqual([
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ])
    using file = openSafetensors(join(out('hf'), 'model.safetensors'))
    const config = JSON.parse(readFileSync(join(out('hf'), 'config.json'), 'utf8'))
    const model = createModel(runtime, config, {
      has: (name) => file.tensors.has(name),
      get: (name) => {
        const tensor = file.tensors.get(name)
        return tensor === undefined ? undefined : { shape: tensor.shape, data: tensor.read() }
      },
    })
    const logits = runtime.tidy(() => model.logits(model.hidden(pack(ids), null)).toFloat32Array())
    expect(maxDifference(logits, reference)).toBeLessThan(1e-5)
  })

  test('DoRA rows have the length that the adapter asks for', async () => {
    const adapterFolder = out('dora-length')
    const adapter = randomAdapter(basePath, { r: 2, lora_alpha: 4, use_dora: true })
    await saveAdapter(adapterFolder, adapter)
    await exportModel({ basePath, adapterFolder, format: 'hf', outFolder: out('dora-hf') })
    using file = openSafetensors(join(out('dora-hf'), 'model.safetensors'))
    const module = 'model.layers.1.mlp.up_proj'
    const weight = file.tensors.get(`${module}.weight`)?.read() ?? new Float32Array()
    const lengths = adapter.tensors.get(`${module}.lora_magnitude_vector`)?.data ?? []
    lengths.forEach((length, row) => {
      const found = Math.hypot(...weight.subarray(row * 48, (row + 1) * 48))
      expect(Math.abs(found - Math.abs(length))).toBeLessThan(1e-6)
    })
  })
})

describe('refusals', () => {
  const cases: [string, () => Promise<unknown>, string, RegExp][] = [
    [
      'an adapter of another base',
      async () => {
        const at = out('foreign')
        const foreign = randomAdapter(basePath, { r: 2 })
        const a = { shape: [2, 7], data: new Float32Array(14) }
        await saveAdapter(at, {
          ...foreign,
          tensors: new Map([...foreign.tensors, ['model.layers.0.self_attn.q_proj.lora_A.weight', a]]),
        })
        await exportModel({ basePath, adapterFolder: at, format: 'hf', outFolder: out('x1') })
      },
      'invalid_file',
      /q_proj is 48×7, this base model's is 48×48/,
    ],
    [
      'several ranks for mlx-lm',
      async () => {
        const at = out('ranks')
        const mixed = randomAdapter(basePath, { alpha_pattern: { q_proj: 1 } })
        await saveAdapter(at, mixed)
        await exportModel({ basePath, adapterFolder: at, format: 'mlx-lm', outFolder: out('x2') })
      },
      'invalid_request',
      /one rank and one scale/,
    ],
    [
      'a folder with something in it',
      async () => {
        mkdirSync(out('full'))
        writeFileSync(join(out('full'), 'x'), '')
        await exportModel({ basePath, adapterFolder: peft, format: 'peft', outFolder: out('full') })
      },
      'conflict',
      /not empty/,
    ],
    [
      'a type that the format has not',
      () =>
        exportModel({ basePath, adapterFolder: peft, format: 'gguf', type: 'bf16', outFolder: out('x3') }),
      'invalid_request',
      /as bf16/,
    ],
    [
      'no adapter to write',
      () => exportModel({ basePath, adapterFolder: null, format: 'gguf-lora', outFolder: out('x4') }),
      'invalid_request',
      /no adapter/,
    ],
  ]
  test.each(cases)('%s', async (_name, act, code, message) => {
    await expect(act()).rejects.toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    )
  })
})

describe('smaller types', () => {
  test('every half comes back, and what lies between goes to the nearer one, ties to even', () => {
    const patterns = Uint16Array.from({ length: 31 * 1024 - 1 }, (_, bits) => bits)
    const values = decodeF16(new Uint8Array(patterns.buffer))
    expect(new Uint16Array(encodeF16(values).buffer)).toEqual(patterns)
    const next = decodeF16(new Uint8Array(patterns.map((bits) => bits + 1).buffer))
    const middles = values.map((value, i) => (value + (next[i] ?? 0)) / 2)
    const even = patterns.map((bits) => bits + (bits & 1))
    // The last middle lies before infinity and goes there.
    expect(new Uint16Array(encodeF16(middles).buffer)).toEqual(even)
    expect([...decodeF16(encodeF16(Float32Array.of(-1.5, -0, Infinity, NaN, 1e9)))]).toEqual([
      -1.5,
      -0,
      Infinity,
      NaN,
      Infinity,
    ])
  })

  test('bfloat16 rounds to nearest even', () => {
    const values = Float32Array.of(1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, -3.140625, NaN, 2 ** -140)
    expect([...decodeBF16(encodeBF16(values))]).toEqual([1, 1, 1 + 2 ** -6, -3.140625, NaN, 0])
  })

  test('Q8_0 keeps every weight within half a step of its block', () => {
    const values = pseudoRandom(32 * 64, 3, 2)
    const back = ggmlTypes.get(8)?.decode?.(encodeQ8_0(values).slice()) ?? new Float32Array()
    for (let block = 0; block < 64; block++) {
      const part = values.subarray(block * 32, block * 32 + 32)
      const step = Math.max(...part.map(Math.abs)) / 127
      expect(maxDifference(part, back.subarray(block * 32, block * 32 + 32))).toBeLessThan(step * 0.57)
    }
  })
})
