import { describe, expect, test } from 'vitest'
import {
  LlamaForCausalLM,
  LoraAdapter,
  lossAndGradients,
  pack,
  Runtime,
  targetLogProbabilities,
} from '../../src/engine/index.ts'
import { maxDifference, readTinyLlama, relativeError } from './tiny-llama.ts'

const tiny = readTinyLlama()
const runtime = new Runtime()
const model = new LlamaForCausalLM(runtime, tiny.config, new Map(Object.entries(tiny.weights)))
const config = { ...tiny.lora, lora_dropout: 0, target_modules: 'all' } as const
const adapter = LoraAdapter.fromTensors(model, config, new Map(Object.entries(tiny.adapter)))
const batch = tiny.rows.map((ids, index) => ({
  ids: Int32Array.from(ids),
  targetWeights: Float32Array.from(tiny.targetWeights[index] ?? []),
}))

describe('llama against transformers and peft', () => {
  test('logits of a packed ragged batch with an adapter, 1e-4 absolute', () => {
    const logits = runtime.tidy(() =>
      model.logits(model.hidden(pack(tiny.rows), adapter.view())).toFloat32Array(),
    )
    const expected = Float32Array.from(tiny.logits.flatMap(({ data }) => [...data]))
    expect(maxDifference(logits, expected)).toBeLessThan(1e-4)
  })

  test('logits without the adapter are those of the base model', () => {
    const logits = runtime.tidy(() =>
      model.logits(model.hidden(pack(tiny.rows.slice(1, 2)), null)).toFloat32Array(),
    )
    expect(maxDifference(logits, tiny.baseLogits.data)).toBeLessThan(1e-4)
  })

  test('weighted loss and the gradient of every factor, 1e-4 relative', () => {
    const { lossSum, weightSum, gradients } = lossAndGradients(model, adapter, batch)
    expect(Math.abs(lossSum - tiny.lossSum) / tiny.lossSum).toBeLessThan(1e-5)
    expect(weightSum).toBe(15.5)
    adapter.parameterNames.forEach((name, index) => {
      const actual = gradients[index]?.toFloat32Array() ?? new Float32Array()
      const expected = tiny.gradients[name]?.data ?? new Float32Array()
      expect(relativeError(actual, expected), name).toBeLessThan(1e-4)
    })
    for (const gradient of gradients) gradient.dispose()
  })

  test('scoring without gradients gives the same loss', () => {
    const logProbabilities = targetLogProbabilities(model, adapter, batch)
    const weights = tiny.targetWeights.flat().filter((weight) => weight !== 0)
    const total = logProbabilities.reduce((sum, value, index) => sum - value * (weights[index] ?? 0), 0)
    expect(total).toBeCloseTo(tiny.lossSum, 3)
  })

  test('a step repeats bit for bit', () => {
    const once = lossAndGradients(model, adapter, batch)
    const again = lossAndGradients(model, adapter, batch)
    expect(again.lossSum).toBe(once.lossSum)
    once.gradients.forEach((gradient, index) => {
      expect(again.gradients[index]?.toFloat32Array()).toEqual(gradient.toFloat32Array())
    })
  })
})
