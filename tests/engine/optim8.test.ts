import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  AdamW,
  AdamW8bit,
  LlamaForCausalLM,
  LoraAdapter,
  lossAndGradients,
  Runtime,
} from '../../src/engine/index.ts'
import { fixture } from './default-model.ts'
import { pseudoRandom } from './pseudo-random.ts'
import { maxDifference } from './tiny-llama.ts'

const runtime = new Runtime()
const { native } = runtime
const maps = z
  .object({ signed: z.array(z.number()), unsigned: z.array(z.number()) })
  .parse(fixture('dynamic-map'))

function packed(values: Float32Array, signed: boolean) {
  const codes = new Uint8Array(values.length)
  const scales = new Float32Array(Math.ceil(values.length / 256))
  native.packMoments(values, codes, scales, signed)
  return { codes, scales, values: native.unpackMoments(codes, scales, signed) }
}

describe.each(['signed', 'unsigned'] as const)('%s moments of 8 bits', (kind) => {
  const signed = kind === 'signed'
  const drawn = pseudoRandom(1000, 3, 1e-3).map((value, index) => {
    const spread = value * 10 ** -(index % 6)
    return signed ? spread : Math.abs(spread)
  })

  test('codes stand for the values of the dynamic map of bitsandbytes', () => {
    const codes = Uint8Array.from({ length: 256 }, (_, code) => code)
    const ours = native.unpackMoments(codes, Float32Array.of(1), signed)
    expect(maxDifference(ours, Float32Array.from(maps[kind]))).toBeLessThan(1e-7)
  })

  test('each value gets the nearest code, and the largest of a block is kept', () => {
    const { values, scales } = packed(drawn, signed)
    drawn.forEach((value, index) => {
      const scale = scales[index >> 8] ?? Number.NaN
      const nearest = Math.min(...maps[kind].map((entry) => Math.abs(entry * scale - value)))
      // A second moment is not rounded to zero, and values have the precision of f32.
      const smallest = signed ? 0 : scale * (maps.unsigned[1] ?? 0)
      expect(Math.abs((values[index] ?? Number.NaN) - value)).toBeLessThanOrEqual(
        Math.max(nearest, smallest) + 1e-6 * Math.abs(value),
      )
    })
    for (const [block, scale] of scales.entries()) {
      const part = drawn.subarray(256 * block, 256 * (block + 1))
      expect(Math.abs(scale)).toBe(Math.max(...part.map(Math.abs)))
      expect(values.subarray(256 * block, 256 * (block + 1))).toContain(scale)
    }
  })

  test('what was unpacked packs to the same bits', () => {
    const once = packed(drawn, signed)
    expect(packed(once.values, signed)).toEqual(once)
    expect(packed(new Float32Array(300), signed).values).toEqual(new Float32Array(300))
  })
})

test('a second moment above zero stays above zero', () => {
  const values = Float32Array.from({ length: 256 }, (_, index) => (index === 0 ? 1 : 1e-12))
  expect(packed(values, false).values.every((value) => value > 0)).toBe(true)
})

describe('AdamW with 8-bit moments', () => {
  const model = LlamaForCausalLM.random(
    runtime,
    {
      vocab_size: 64,
      hidden_size: 64,
      intermediate_size: 512,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      rms_norm_eps: 1e-5,
      rope_theta: 10_000,
      max_position_embeddings: 64,
      tie_word_embeddings: true,
    },
    1,
  )
  const row = {
    ids: Int32Array.from(pseudoRandom(48, 1, 32), (value) => Math.floor(value) + 32),
    targetWeights: Float32Array.from({ length: 48 }, (_, t) => (t === 0 ? 0 : 1)),
  }
  const config = { r: 16, lora_alpha: 32, lora_dropout: 0, target_modules: 'all' } as const
  const make = (kind: typeof AdamW | typeof AdamW8bit) => {
    const adapter = LoraAdapter.create(model, config, 2)
    const optimizer = new kind(runtime, adapter.parameters, { weightDecay: 0.01 })
    const step = (): number => {
      const { lossSum, weightSum, gradients } = lossAndGradients(model, adapter, [row])
      optimizer.update(gradients, 3e-3, 1 / weightSum)
      for (const gradient of gradients) gradient.dispose()
      return lossSum / weightSum
    }
    return { adapter, optimizer, step }
  }

  test('learns as fast as with moments in f32, in a quarter of the memory', () => {
    const [full, eight] = [make(AdamW), make(AdamW8bit)]
    const losses = Array.from({ length: 40 }, () => [full.step(), eight.step()])
    const [first] = losses
    expect(first?.[1]).toBe(first?.[0])
    const last = losses.at(-1) ?? []
    expect(last[0]).toBeLessThan(0.75 * (first?.[0] ?? 0))
    for (const [ours = Number.NaN, theirs = 0] of losses) expect(Math.abs(ours - theirs)).toBeLessThan(5e-3)
    const inFull = full.adapter.parameters.reduce((sum, { size }) => sum + (size < 4096 ? 8 * size : 0), 0)
    const large = full.optimizer.stateBytes - inFull
    expect(eight.optimizer.stateBytes - inFull).toBeLessThan(0.26 * large)
    expect(large).toBeGreaterThan(0)
  })

  test('goes on from its state to the same bits', () => {
    const whole = make(AdamW8bit)
    for (let step = 0; step < 5; step++) whole.step()
    const half = make(AdamW8bit)
    half.adapter.restore(whole.adapter.tensors())
    half.optimizer.importState(whole.optimizer.exportState())
    expect(half.optimizer.exportState()).toEqual(whole.optimizer.exportState())
    for (let step = 0; step < 5; step++) expect(half.step()).toBe(whole.step())
    expect(half.adapter.tensors()).toEqual(whole.adapter.tensors())
    expect(() => half.optimizer.importState({ step: 1, first: [], second: [] })).toThrow('another adapter')
  })
})
