import { cpSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { layerScale } from '../../src/engine/adapters/lora-config.ts'
import type { LoraAdapter } from '../../src/engine/io/adapter.ts'
import { loadAdapter, saveAdapter } from '../../src/engine/io/peft.ts'

const fromPeft = fileURLToPath(new URL('../fixtures/peft-adapter', import.meta.url))
const tensors = 'adapter_model.safetensors'
const config = 'adapter_config.json'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shadow-peft-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const own: LoraAdapter = {
  config: {
    peft_type: 'LORA',
    r: 2,
    lora_alpha: 8,
    lora_dropout: 0,
    use_rslora: false,
    use_dora: false,
    target_modules: ['q_proj'],
  },
  tensors: new Map([
    [
      'model.layers.0.self_attn.q_proj.lora_A.weight',
      { shape: [2, 3], data: Float32Array.from([1, 2, 3, 4, 5, 6]) },
    ],
    [
      'model.layers.0.self_attn.q_proj.lora_B.weight',
      { shape: [4, 2], data: new Float32Array(8).fill(0.25) },
    ],
  ]),
}

describe('an adapter that PEFT wrote', () => {
  test('is loaded', () => {
    const adapter = loadAdapter(fromPeft)
    expect(adapter.config).toMatchObject({ peft_type: 'LORA', r: 2, lora_alpha: 4 })
    expect(adapter.tensors.size).toBe(14)
    expect(adapter.tensors.get('model.layers.0.mlp.down_proj.lora_A.weight')?.shape).toEqual([2, 16])
    expect(adapter.tensors.get('model.layers.0.mlp.down_proj.lora_B.weight')?.shape).toEqual([8, 2])
  })

  test('is written again with the same bytes and the same settings', async () => {
    await saveAdapter(folder, loadAdapter(fromPeft))
    expect(readFileSync(join(folder, tensors)).equals(readFileSync(join(fromPeft, tensors)))).toBe(true)
    const read = (at: string): unknown => JSON.parse(readFileSync(join(at, config), 'utf8'))
    expect(read(folder)).toEqual(read(fromPeft))
  })
})

describe('an adapter of our own', () => {
  test('comes back as it was, and gives the same bytes each time', async () => {
    await saveAdapter(folder, own)
    const back = loadAdapter(folder)
    expect(back.config).toMatchObject(own.config)
    expect(back.tensors).toEqual(own.tensors)
    const first = [tensors, config].map((name) => readFileSync(join(folder, name)))
    await saveAdapter(folder, { ...back, tensors: new Map([...back.tensors].toReversed()) })
    expect([tensors, config].map((name) => readFileSync(join(folder, name)))).toEqual(first)
    expect(statSync(join(folder, tensors)).mode & 0o777).toBe(0o600)
  })

  test('is scaled by alpha over rank, or over its root', () => {
    expect(layerScale(own.config, '')).toBe(4)
    expect(layerScale({ ...own.config, use_rslora: true }, '')).toBeCloseTo(8 / Math.sqrt(2), 12)
  })

  test('is not saved in halves or with another rank', async () => {
    const onlyA = new Map([...own.tensors].slice(0, 1))
    await expect(saveAdapter(folder, { ...own, tensors: onlyA })).rejects.toThrow(/has no .*lora_B/)
    await expect(saveAdapter(folder, { ...own, config: { ...own.config, r: 3 } })).rejects.toThrow(
      /the rank is 3/,
    )
  })
})

describe('a folder that nobody should trust', () => {
  const cases: [string, (at: string) => void, string, RegExp][] = [
    ['an empty folder', (at) => rmSync(join(at, config)), 'not_found', /adapter_config.json cannot be read/],
    [
      'no tensors',
      (at) => rmSync(join(at, tensors)),
      'not_found',
      /adapter_model.safetensors cannot be read/,
    ],
    [
      'a config that is not JSON',
      (at) => writeFileSync(join(at, config), '{'),
      'invalid_file',
      /content: is not a JSON object/,
    ],
    ['another method', (at) => edit(at, { peft_type: 'IA3' }), 'invalid_file', /peft_type/],
    ['a rank of zero', (at) => edit(at, { r: 0 }), 'invalid_file', /✖.*\n.*r/],
    ['another rank', (at) => edit(at, { r: 4 }), 'invalid_file', /the rank is 4/],
    [
      'DoRA without its norms',
      (at) => edit(at, { use_dora: true }),
      'invalid_file',
      /has no .*magnitude_vector/,
    ],
    [
      'an init that changes the base',
      (at) => edit(at, { init_lora_weights: 'pissa' }),
      'invalid_file',
      /init_lora_weights: "pissa" is not supported/,
    ],
    ['trained biases', (at) => edit(at, { bias: 'all' }), 'invalid_file', /bias: "all" is not supported/],
    [
      'a rank by pattern that is another',
      (at) => edit(at, { rank_pattern: { q_proj: 4 } }),
      'invalid_file',
      /q_proj.*the rank is 4/,
    ],
    [
      'a pattern that is a program',
      (at) => edit(at, { rank_pattern: { '(a+)+$': 4 } }),
      'invalid_file',
      /rank_pattern/,
    ],
    ['tensors cut short', (at) => cut(join(at, tensors)), 'invalid_file', /truncated/],
  ]
  test.each(cases)('%s is refused with file and field', (_name, damage, code, problem) => {
    cpSync(fromPeft, folder, { recursive: true })
    damage(folder)
    expect(() => loadAdapter(folder)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(problem) }),
    )
  })
})

function edit(at: string, change: object): void {
  const path = join(at, config)
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...change }))
}

function cut(path: string): void {
  writeFileSync(path, readFileSync(path).subarray(0, -10))
}
