import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { layerRank, layerScale, patternProblem } from '../../src/engine/adapters/lora-config.ts'
import {
  GenerationScheduler,
  LlamaForCausalLM,
  LoraAdapter,
  lossAndGradients,
  loadLora,
  pack,
  Runtime,
  saveLora,
} from '../../src/engine/index.ts'
import { loraModules } from '../../src/engine/io/adapter.ts'
import { mergedWeight } from '../../src/engine/io/export-merge.ts'
import { loadMlxAdapter, saveMlxAdapter } from '../../src/engine/io/mlx-lm.ts'
import { loadAdapter } from '../../src/engine/io/peft.ts'
import { fixture } from './default-model.ts'
import { encoded, maxDifference, readTinyLlama, relativeError } from './tiny-llama.ts'

const measured = z.object({
  logits: z.array(encoded),
  lossSum: z.number(),
  gradients: z.record(z.string(), encoded),
})
const reference = z
  .object({
    dora: measured,
    patterns: measured,
    'dora-patterns': measured,
    patterns_of_layers: z.array(z.object({ key: z.string(), matches: z.array(z.string()) })),
    layers: z.array(z.string()),
  })
  .parse(fixture('engine/adapters'))

const tiny = readTinyLlama()
const runtime = new Runtime()
const model = new LlamaForCausalLM(runtime, tiny.config, new Map(Object.entries(tiny.weights)))
const batch = tiny.rows.map((ids, index) => ({
  ids: Int32Array.from(ids),
  targetWeights: Float32Array.from(tiny.targetWeights[index] ?? []),
}))
const folder = mkdtempSync(join(tmpdir(), 'adapters-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function folderOf(kind: string): string {
  return fileURLToPath(new URL(`../fixtures/peft-${kind}`, import.meta.url))
}

function logitsOf(of: LlamaForCausalLM, adapter: LoraAdapter | null): Float32Array {
  return runtime.tidy(() => of.logits(of.hidden(pack(tiny.rows), adapter?.view() ?? null)).toFloat32Array())
}

describe.each(['dora', 'patterns', 'dora-patterns'] as const)('%s, as PEFT wrote and computed it', (kind) => {
  const expected = reference[kind]
  const adapter = loadLora(model, folderOf(kind))
  const logits = Float32Array.from(expected.logits.flatMap(({ data }) => [...data]))

  test('logits, 1e-4 absolute', () => {
    expect(maxDifference(logitsOf(model, adapter), logits)).toBeLessThan(1e-4)
  })

  test('loss and every gradient, 1e-4 relative, as a tree and packed', () => {
    for (const layout of ['tree', 'packed'] as const) {
      const { lossSum, gradients } = lossAndGradients(model, adapter, batch, { layout })
      expect(Math.abs(lossSum / expected.lossSum - 1)).toBeLessThan(1e-5)
      expect(adapter.parameterNames.toSorted()).toEqual(Object.keys(expected.gradients).toSorted())
      adapter.parameterNames.forEach((name, index) => {
        const actual = gradients[index]?.toFloat32Array() ?? new Float32Array()
        expect(
          relativeError(actual, expected.gradients[name]?.data ?? new Float32Array()),
          name,
        ).toBeLessThan(1e-4)
      })
    }
  })

  test('merged into its base it gives the same logits, 1e-5', () => {
    const merged = new Map(Object.entries(tiny.weights))
    for (const lora of loraModules(loadAdapter(folderOf(kind)))) {
      const name = `${lora.module}.weight`
      const weight = merged.get(name)
      if (weight !== undefined) merged.set(name, { ...weight, data: mergedWeight(weight.data, lora) })
    }
    const whole = new LlamaForCausalLM(runtime, tiny.config, merged)
    expect(maxDifference(logitsOf(whole, null), logitsOf(model, adapter))).toBeLessThan(1e-5)
  })

  test('written again it has the same tensors and the same settings', async () => {
    const again = join(folder, kind)
    await saveLora(again, adapter, 'base')
    const [ours, theirs] = [loadAdapter(again), loadAdapter(folderOf(kind))]
    expect(Object.fromEntries(ours.tensors)).toEqual(Object.fromEntries(theirs.tensors))
    for (const field of ['r', 'lora_alpha', 'use_dora', 'use_rslora', 'rank_pattern', 'alpha_pattern'])
      expect(ours.config[field], field).toEqual(theirs.config[field])
  })

  test('generation takes the same tokens as a pass over the whole', async () => {
    using scheduler = new GenerationScheduler(model, { maxBatch: 2, maxContext: 32 })
    scheduler.addAdapter('it', adapter)
    const promptIds = Int32Array.from(tiny.rows[0] ?? [])
    const { ids } = await scheduler.submit({
      promptIds,
      maxTokens: 1,
      temperature: 0,
      topP: 1,
      stopIds: [],
      adapter: 'it',
    })
    const last = [...(expected.logits[0]?.data.slice(-tiny.config.vocab_size) ?? [])]
    expect([...ids]).toEqual([last.indexOf(Math.max(...last))])
  })
})

describe('DoRA', () => {
  test('starts as the base model, its lengths those of the rows', () => {
    const config = { r: 4, lora_alpha: 8, lora_dropout: 0, target_modules: 'all', use_dora: true } as const
    const fresh = LoraAdapter.create(model, config, 1)
    expect(maxDifference(logitsOf(model, fresh), logitsOf(model, null))).toBeLessThan(1e-4)
    const plain = LoraAdapter.create(model, { ...config, use_dora: false }, 1)
    for (const [name, { data }] of plain.tensors()) expect(fresh.tensors().get(name)?.data).toEqual(data)
  })

  test('under dropout its layers see the base through the same gaps, and zero dropout changes nothing', () => {
    const { tensors, config } = loadAdapter(folderOf('dora'))
    const named = new Map([...tensors].map(([name, tensor]) => [`base_model.model.${name}`, tensor]))
    const of = (lora_dropout: number): LoraAdapter =>
      LoraAdapter.fromTensors(
        model,
        { r: config.r, lora_alpha: config.lora_alpha, use_dora: true, target_modules: 'all', lora_dropout },
        named,
      )
    const loss = (probability: number, dropoutSeed: number): number =>
      lossAndGradients(model, of(probability), batch, { dropoutSeed }).lossSum
    expect(Math.abs(loss(1e-9, 1) / reference.dora.lossSum - 1)).toBeLessThan(1e-5)
    expect(loss(0.3, 1)).toBe(loss(0.3, 1))
    expect(loss(0.3, 1)).not.toBe(loss(0.3, 2))
  })

  test('mlx-lm keeps it', async () => {
    const adapter = loadAdapter(folderOf('dora'))
    const at = join(folder, 'mlx')
    await saveMlxAdapter(at, adapter)
    expect(Object.fromEntries(loadMlxAdapter(at).tensors)).toEqual(Object.fromEntries(adapter.tensors))
  })
})

describe('patterns', () => {
  test("choose layers by PEFT's rule", () => {
    for (const { key, matches } of reference.patterns_of_layers)
      expect(
        reference.layers.filter((path) => layerRank({ r: 4, rank_pattern: { [key]: 9 } }, path) === 9),
        key,
      ).toEqual(matches)
  })

  test('the first that matches counts; alpha is divided by the rank of its layer', () => {
    const config = {
      r: 4,
      lora_alpha: 8,
      use_rslora: true,
      rank_pattern: { q_proj: 16, '.*_proj': 2 },
      alpha_pattern: { q_proj: 3 },
    }
    expect(layerScale(config, 'a.q_proj')).toBe(3 / 4)
    expect(layerScale(config, 'a.k_proj')).toBeCloseTo(8 / Math.SQRT2, 12)
  })

  test.each(['(a+)+', '(', '.*'.repeat(9), 'a'.repeat(300), '(?P<x>a)', 'a{1,1000}{2}b*c*d*'])(
    '%s is refused',
    (key) => {
      expect(patternProblem(key)).toEqual(expect.any(String))
    },
  )

  test('an adapter for some layers only is loaded for those', () => {
    const { tensors, config } = loadAdapter(folderOf('dora'))
    const some = new Map(
      [...tensors]
        .filter(([name]) => name.includes('layers.1.'))
        .map(([name, tensor]) => [`base_model.model.${name}`, tensor]),
    )
    const paths = model.linears.flatMap(({ path }) => (path.includes('layers.1.') ? [path] : []))
    const { r, lora_alpha } = config
    const target = { r, lora_alpha, lora_dropout: 0, target_modules: 'all', use_dora: true } as const
    expect(LoraAdapter.fromTensors(model, target, some, paths).linears.map(({ path }) => path)).toEqual(paths)
    expect(() => LoraAdapter.fromTensors(model, target, some)).toThrow(/has no tensor .*layers.0/)
  })
})

test('parameters are restored in place, to the last bit', () => {
  const config = { r: 4, lora_alpha: 8, lora_dropout: 0, target_modules: 'all' } as const
  const [one, other] = [LoraAdapter.create(model, config, 1), LoraAdapter.create(model, config, 2)]
  const [first] = one.parameters
  one.restore(other.tensors())
  expect(one.parameters[0]).toBe(first)
  expect(one.tensors()).toEqual(other.tensors())
})
