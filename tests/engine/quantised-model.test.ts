/** A model on packed weights against its twin on the same weights unpacked to float32. */
import { describe, expect, test } from 'vitest'
import {
  GenerationScheduler,
  LlamaForCausalLM,
  LoraAdapter,
  lossAndGradients,
  pack,
  Runtime,
  type Weight,
  type WeightSource,
} from '../../src/engine/index.ts'
import { architectureTensors } from '../../src/engine/models/architecture.ts'
import { architectureOf } from '../../src/engine/models/registry.ts'
import { quantizing } from '../../src/engine/nn/quantize.ts'
import { FrozenMatrix, type Packing } from '../../src/engine/tensor/frozen-matrix.ts'
import { key, normal } from '../../src/engine/tensor/random.ts'
import { relativeError } from './tiny-llama.ts'

const runtime = new Runtime()
const config = {
  vocab_size: 97,
  hidden_size: 64,
  intermediate_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  max_position_embeddings: 128,
  tie_word_embeddings: true,
} as const

/** Seeded weights in float32. */
function seededWeights(): Map<string, Weight> {
  const weights = new Map<string, Weight>()
  const draw = (name: string, size: readonly number[]): void => {
    const data = normal(key(runtime, weights.size + 1), size).toFloat32Array()
    const scaled = data.map((value) => (size.length === 1 ? 1 + 0.1 * value : 0.15 * value))
    weights.set(name, { shape: size, data: scaled })
  }
  for (const [name, size] of architectureTensors(architectureOf({ ...config, model_type: 'llama' })))
    if (name !== 'lm_head.weight') draw(name, size)
  return weights
}

/** What the packed matrices of a source stand for. */
function unpacked(source: WeightSource): WeightSource {
  return {
    has: (name) => source.has(name),
    get(name) {
      const packed = source.packed?.(name)
      if (packed === undefined) return source.get(name)
      const data = runtime.tidy(() =>
        FrozenMatrix.ofRows(packed.upload(runtime), packed.packing).dequantized().toFloat32Array(),
      )
      return { shape: packed.shape, data }
    },
  }
}

const fourBits: Packing = { bits: 4, groupSize: 64, scales: 'float16' }
const eightBits: Packing = { bits: 8, groupSize: 32, scales: 'bfloat16' }
const base = seededWeights()

/** Every matrix its own way, as GGUF mixtures have it: packings differ within a stack. */
const mixture: WeightSource = {
  has: (name) => base.has(name),
  get: (name) => base.get(name),
  packed(name) {
    if (name.includes('o_proj') || name.includes('up_proj')) return undefined
    const packing = name.includes('v_proj') || name.includes('embed') ? eightBits : fourBits
    return quantizing(base, packing).packed?.(name)
  },
}

const sources: [string, WeightSource][] = [
  ['4 bits', quantizing(base, fourBits)],
  ['8 bits', quantizing(base, eightBits)],
  ['a mixture', mixture],
]

describe.each(sources)('%s', (_, source) => {
  const packed = new LlamaForCausalLM(runtime, config, source)
  const twin = new LlamaForCausalLM(runtime, config, unpacked(source))
  const lora = { r: 4, lora_alpha: 8, lora_dropout: 0, target_modules: 'all' } as const
  const rows = [0, 1, 2].map((row) => ({
    ids: Int32Array.from({ length: 12 + row }, (_unused, t) => (row * 31 + t * 17 + 5) % 97),
    targetWeights: Float32Array.from({ length: 12 + row }, (_unused, t) => (t < 4 ? 0 : 1)),
  }))

  test('generation gives the same tokens and the same probabilities to the last bit', async () => {
    const answers = []
    for (const model of [packed, twin]) {
      using generator = new GenerationScheduler(model, { maxBatch: 8, maxContext: 64, prefillRows: 7 })
      const prompts = [rows[0], rows[1], rows[2]].map((row) => [...(row?.ids ?? [])])
      const settings = { maxTokens: 12, temperature: 0.8, topP: 1, stopIds: [], seed: 3 }
      answers.push(
        await Promise.all(prompts.map((promptIds) => generator.submit({ promptIds, ...settings }))),
      )
    }
    expect(answers[0]).toEqual(answers[1])
  })

  test('what the cache gives is what the full forward gives', async () => {
    using generator = new GenerationScheduler(packed, { maxBatch: 1, maxContext: 64, prefillRows: 5 })
    const promptIds = [...(rows[2]?.ids ?? [])]
    const answer = await generator.submit({ promptIds, maxTokens: 10, temperature: 0, topP: 1, stopIds: [] })
    const ids = [...promptIds, ...answer.ids]
    const logits = runtime.tidy(() => packed.logits(packed.hidden(pack([ids]), null)).toFloat32Array())
    answer.ids.forEach((id, index) => {
      const at = (promptIds.length + index - 1) * config.vocab_size
      const row = logits.subarray(at, at + config.vocab_size)
      const top = Math.max(...row)
      const total = row.reduce((sum, value) => sum + Math.exp(value - top), 0)
      expect(row.indexOf(top)).toBe(id)
      expect(answer.logprobs[index]).toBeCloseTo(-Math.log(total), 5)
    })
  })

  test.each([false, true])(
    'loss and gradients of LoRA (DoRA: %s) are those on the unpacked base',
    (use_dora) => {
      const results = [packed, twin].map((model) => {
        const adapter = LoraAdapter.create(model, { ...lora, use_dora }, 4)
        adapter.parameters.forEach((parameter, index) => {
          const size = parameter.shape
          const drawn = normal(key(runtime, 50 + index), size).toFloat32Array()
          runtime.native.addInPlace(
            [parameter.handle],
            [
              runtime.fromFloat32(
                drawn.map((x) => 0.1 * x),
                size,
              ).handle,
            ],
          )
        })
        return lossAndGradients(model, adapter, rows)
      })
      const [actual, expected] = results
      expect(Math.abs((actual?.lossSum ?? 0) / (expected?.lossSum ?? 1) - 1)).toBeLessThan(1e-6)
      expected?.gradients.forEach((gradient, index) => {
        const own = actual?.gradients[index]?.toFloat32Array() ?? new Float32Array()
        expect(relativeError(own, gradient.toFloat32Array()), `gradient ${index}`).toBeLessThan(1e-5)
      })
    },
  )
})

test('a packed model weighs a fifth of one in float32', () => {
  const bytes = (source: WeightSource): number => {
    const before = runtime.memory().activeBytes
    const model = new LlamaForCausalLM(runtime, config, source)
    const after = runtime.memory().activeBytes
    model.dispose()
    return after - before
  }
  expect(bytes(quantizing(base, fourBits)) / bytes(base)).toBeLessThan(0.2)
})
