import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  AdamW,
  FullFineTuning,
  LlamaForCausalLM,
  loadModel,
  lossAndGradients,
  openSafetensors,
  pack,
  Runtime,
  saveFullModel,
} from '../../src/engine/index.ts'
import { writeTinyModel } from '../support/tiny-model.ts'
import { fixture } from './default-model.ts'
import { pseudoRandom } from './pseudo-random.ts'
import { encoded, maxDifference, readTinyLlama, relativeError } from './tiny-llama.ts'

const reference = z
  .object({
    full: z.object({
      logits: z.array(encoded),
      lossSum: z.number(),
      gradients: z.record(z.string(), z.object({ norm: z.number(), products: z.array(z.number()) })),
    }),
  })
  .parse(fixture('engine/adapters')).full

const tiny = readTinyLlama()
const runtime = new Runtime()
const weights = new Map(Object.entries(tiny.weights))
const batch = tiny.rows.map((ids, index) => ({
  ids: Int32Array.from(ids),
  targetWeights: Float32Array.from(tiny.targetWeights[index] ?? []),
}))

const folder = mkdtempSync(join(tmpdir(), 'full-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function fresh() {
  const model = new LlamaForCausalLM(runtime, tiny.config, weights)
  return { model, full: new FullFineTuning(model) }
}

function logitsOf(model: LlamaForCausalLM): Float32Array {
  return runtime.tidy(() => model.logits(model.hidden(pack(tiny.rows), null)).toFloat32Array())
}

describe('full fine-tuning', () => {
  test('loss and the gradient of every parameter are those of torch, 1e-4 relative', () => {
    const { model, full } = fresh()
    for (const layout of ['tree', 'packed'] as const) {
      const { lossSum, gradients } = lossAndGradients(model, full, batch, { layout })
      expect(Math.abs(lossSum / reference.lossSum - 1)).toBeLessThan(1e-5)
      // Under the names of the files, as `tensors` gives the parameters themselves.
      const named = new Map(
        full.parameterNames.flatMap((joined, index) => {
          const values = gradients[index]?.toFloat32Array() ?? new Float32Array()
          let at = 0
          return joined.split('+').map((name): [string, Float32Array] => {
            const from = at
            at += weights.get(name)?.data.length ?? 0
            return [name, values.subarray(from, at)]
          })
        }),
      )
      expect([...named.keys()].toSorted()).toEqual(Object.keys(reference.gradients).toSorted())
      for (const [name, values] of named) {
        const expected = reference.gradients[name] ?? { norm: Number.NaN, products: [] }
        const norm = Math.hypot(...values)
        expect(Math.abs(norm / expected.norm - 1), name).toBeLessThan(1e-4)
        expected.products.forEach((product, seed) => {
          const direction = pseudoRandom(values.length, seed, 1)
          const ours = values.reduce((sum, value, at) => sum + value * (direction[at] ?? 0), 0)
          expect(Math.abs(ours - product) / (norm * Math.hypot(...direction)), name).toBeLessThan(1e-4)
        })
      }
    }
  })

  test('changes the model itself, and is copied out and back in to the last bit', () => {
    const { model, full } = fresh()
    const before = logitsOf(model)
    const optimizer = new AdamW(runtime, full.parameters)
    let loss = Number.POSITIVE_INFINITY
    for (let step = 0; step < 5; step++) {
      const { lossSum, weightSum, gradients } = lossAndGradients(model, full, batch)
      expect(lossSum).toBeLessThan(loss)
      loss = lossSum
      optimizer.update(gradients, 1e-2, 1 / weightSum)
    }
    const after = logitsOf(model)
    expect(relativeError(after, before)).toBeGreaterThan(1e-2)
    const saved = full.tensors()
    expect([...saved.keys()].toSorted()).toEqual([...weights.keys()].toSorted())
    expect(maxDifference(logitsOf(new LlamaForCausalLM(runtime, tiny.config, saved)), after)).toBe(0)
    full.restore(weights)
    expect(logitsOf(model)).toEqual(before)
    expect(full.trainingBytes).toBe(
      16 * [...weights.values()].reduce((sum, { data }) => sum + data.length, 0),
    )
    expect(() => full.restore(new Map())).toThrow('model.embed_tokens.weight')
  })

  test('is saved as a Hugging Face folder with the trained weights', async () => {
    const basePath = writeTinyModel(join(folder, 'base'))
    const { model } = loadModel(runtime, basePath)
    const full = new FullFineTuning(model)
    const row = { ids: Int32Array.of(5, 9, 40, 7), targetWeights: Float32Array.of(0, 1, 1, 1) }
    new AdamW(runtime, full.parameters).update(lossAndGradients(model, full, [row]).gradients, 1e-2)
    const out = join(folder, 'out')
    await saveFullModel(out, full, basePath)
    using file = openSafetensors(join(out, 'model.safetensors'))
    const trained = full.tensors()
    for (const [name, { data }] of trained)
      expect(file.tensors.get(name)?.read(), name).toEqual(Float32Array.from(data))
    expect(file.tensors.size).toBe(trained.size)
    expect(JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'))).toMatchObject({ model_type: 'llama' })
  })

  test('is refused on a base that is quantised in memory', () => {
    const { model } = loadModel(runtime, writeTinyModel(join(folder, 'small')), {
      quantization: { bits: 8, groupSize: 32 },
    })
    expect(() => new FullFineTuning(model)).toThrow(/quantised; it cannot be trained/)
  })
})
