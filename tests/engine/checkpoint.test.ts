import { describe, expect, test } from 'vitest'
import {
  type Adapter,
  type CausalLM,
  FullFineTuning,
  LlamaForCausalLM,
  LoraAdapter,
  type LoraConfig,
  type LossOptions,
  lossAndGradients,
  Runtime,
  type TrainRow,
} from '../../src/engine/index.ts'
import { familyModel, readFamilies } from './families-fixture.ts'
import { pseudoRandom } from './pseudo-random.ts'

const runtime = new Runtime()
const plain: LoraConfig = { r: 3, lora_alpha: 6, lora_dropout: 0, target_modules: 'all' }

/** Random factors: with B at zero the gradient of A would vanish. */
function loraOn(model: CausalLM, config: LoraConfig): LoraAdapter {
  const adapter = LoraAdapter.create(model, config, 12)
  adapter.restore(
    new Map(
      [...adapter.tensors()].map(([name, { shape, data }], index) => [
        name,
        { shape, data: name.includes('lora_B') ? pseudoRandom(data.length, index, 0.3) : data },
      ]),
    ),
  )
  return adapter
}

/** Rows that share their first tokens. */
function rowsFor(model: CausalLM): TrainRow[] {
  return [0, 1, 2].map((row) => ({
    ids: Int32Array.from({ length: 12 + row }, (_, t) =>
      t < 7 ? t + 1 : (5 * row + t) % model.vocabularySize,
    ),
    targetWeights: Float32Array.from({ length: 12 + row }, (_, t) => (t === 0 ? 0 : t % 3)),
  }))
}

function outcome(model: CausalLM, adapter: Adapter, options: LossOptions) {
  return runtime.tidy(() => {
    const { lossSum, gradients } = lossAndGradients(model, adapter, rowsFor(model), options)
    return { lossSum, gradients: gradients.map((gradient) => gradient.toFloat32Array()) }
  })
}

function expectSameBits(model: CausalLM, adapter: Adapter, options: LossOptions): void {
  const kept = outcome(model, adapter, options)
  const again = outcome(model, adapter, { ...options, gradientCheckpointing: true })
  expect(Number.isFinite(kept.lossSum)).toBe(true)
  expect(kept.gradients.filter((gradient) => gradient.every((value) => value === 0))).toEqual([])
  expect(again.lossSum).toBe(kept.lossSum)
  expect(again.gradients).toEqual(kept.gradients)
}

describe('gradient checkpointing gives the loss and every gradient to the last bit', () => {
  for (const [name, family] of readFamilies()) {
    test(name, () => {
      const { model, adapter } = familyModel(runtime, family)
      for (const layout of ['tree', 'packed'] as const) expectSameBits(model, adapter, { layout })
      for (const use_dora of [false, true]) {
        if (use_dora) expectSameBits(model, loraOn(model, { ...plain, use_dora }), { layout: 'tree' })
        const dropping = loraOn(model, { ...plain, use_dora, lora_dropout: 0.3 })
        expectSameBits(model, dropping, { dropoutSeed: 5 })
        // Another key drops other elements.
        expect(outcome(model, dropping, { dropoutSeed: 6, gradientCheckpointing: true }).lossSum).not.toBe(
          outcome(model, dropping, { dropoutSeed: 5, gradientCheckpointing: true }).lossSum,
        )
      }
      const some = loraOn(model, { ...plain, target_modules: ['layers.1.self_attn.o_proj'] })
      expectSameBits(model, some, { layout: 'tree' })
      expectSameBits(model, new FullFineTuning(model), { layout: 'tree' })
      model.dispose()
    })
  }
})

describe('gradient checkpointing keeps one input a block', () => {
  const [layers, hidden, intermediate, tokens] = [12, 64, 192, 1024]
  const model = LlamaForCausalLM.random(
    runtime,
    {
      vocab_size: 64,
      hidden_size: hidden,
      intermediate_size: intermediate,
      num_hidden_layers: layers,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      rms_norm_eps: 1e-5,
      rope_theta: 10_000,
      max_position_embeddings: 4096,
      tie_word_embeddings: true,
    },
    21,
  )
  const row: TrainRow = {
    ids: Int32Array.from({ length: tokens }, (_, t) => (7 * t + (t >> 4)) % 64),
    targetWeights: Float32Array.from({ length: tokens }, (_, t) => Math.min(t, 1)),
  }

  /** The most that a step held beside what was there before, in bytes. */
  function peakOf(adapter: Adapter, options: LossOptions): number {
    return runtime.tidy(() => {
      const before = runtime.memory().activeBytes
      runtime.native.resetPeakMemory()
      lossAndGradients(model, adapter, [row], options)
      return runtime.memory().peakBytes - before
    })
  }

  const cases: [string, Adapter, LossOptions][] = [
    ['LoRA', loraOn(model, plain), {}],
    ['LoRA with dropout', loraOn(model, { ...plain, lora_dropout: 0.1 }), { dropoutSeed: 1 }],
    ['DoRA', loraOn(model, { ...plain, use_dora: true }), {}],
    ['full fine-tuning', new FullFineTuning(model), {}],
  ]
  for (const [name, adapter, options] of cases) {
    test(name, () => {
      const kept = peakOf(adapter, options)
      const again = peakOf(adapter, { ...options, gradientCheckpointing: true })
      expect(again).toBeLessThan(kept / 3)
    })
  }
})
