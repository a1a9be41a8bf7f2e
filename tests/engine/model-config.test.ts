import { describe, expect, test } from 'vitest'
import { architectureOf } from '../../src/engine/models/registry.ts'
import { createModel, LoraAdapter, lossAndGradients, Runtime } from '../../src/engine/index.ts'
import { familyModel, familyWeights, readFamilies } from './families-fixture.ts'

const sizes = {
  vocab_size: 41,
  hidden_size: 24,
  intermediate_size: 32,
  num_hidden_layers: 8,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 64,
}
const windowsOf = (config: { model_type: string }): (number | undefined)[] =>
  architectureOf({ ...sizes, ...config }).layers.map(({ heads }) => heads.window)

describe('which layers see a window', () => {
  test('mistral: all, 4096 tokens unless it says otherwise', () => {
    expect(new Set(windowsOf({ model_type: 'mistral' }))).toEqual(new Set([4096]))
    const without = { model_type: 'mistral', sliding_window: null }
    expect(new Set(windowsOf(without))).toEqual(new Set([undefined]))
  })

  test.each(['qwen2', 'qwen3'])('%s: none, or those from max_window_layers on', (modelType) => {
    const on = { use_sliding_window: true }
    const settings = { model_type: modelType, sliding_window: 9, max_window_layers: 6 }
    expect(windowsOf(settings)).toEqual(Array.from({ length: 8 }))
    expect(windowsOf({ ...settings, ...on })).toEqual([...Array.from({ length: 6 }), 9, 9])
  })

  test('gemma3_text: all but every sixth, which has the large θ', () => {
    const { layers, rotations } = architectureOf({ ...sizes, model_type: 'gemma3_text', sliding_window: 5 })
    expect(layers.map(({ heads }) => heads.window)).toEqual([5, 5, 5, 5, 5, undefined, 5, 5])
    expect(layers.map(({ rotation }) => rotations[rotation ?? -1]?.theta)).toEqual([
      10_000, 10_000, 10_000, 10_000, 10_000, 1_000_000, 10_000, 10_000,
    ])
  })

  test('smollm3: no rotary embedding in every fourth layer', () => {
    const { layers } = architectureOf({ ...sizes, model_type: 'smollm3' })
    expect(layers.map(({ rotation }) => rotation)).toEqual([0, 0, 0, null, 0, 0, 0, null])
  })
})

describe('rope_parameters of transformers 5 and the older fields mean the same', () => {
  const scaling = { rope_type: 'linear', factor: 4 }
  test.each([
    [
      'llama',
      { rope_parameters: { ...scaling, rope_theta: 5e5 } },
      { rope_theta: 5e5, rope_scaling: { type: 'linear', factor: 4 } },
    ],
    [
      'gemma3_text',
      {
        rope_parameters: {
          full_attention: { ...scaling, rope_theta: 7e5 },
          sliding_attention: { rope_type: 'default', rope_theta: 9e3 },
        },
      },
      { rope_theta: 7e5, rope_local_base_freq: 9e3, rope_scaling: scaling },
    ],
  ])('%s', (modelType, newer, older) => {
    const speeds = (fields: object): [number, unknown][] =>
      architectureOf({ ...sizes, model_type: modelType, ...fields }).rotations.map(
        ({ theta, scaling: by }) => [theta, by?.['factor']],
      )
    expect(speeds(newer)).toEqual(speeds(older))
    expect(speeds(newer)[0]).toEqual([modelType === 'llama' ? 5e5 : 7e5, 4])
  })
})

describe('what would give other numbers than its makers meant is refused by name', () => {
  test.each([
    ['llama', { hidden_act: 'relu2' }, 'hidden_act'],
    ['llama', { partial_rotary_factor: 0.5 }, 'partial_rotary_factor'],
    [
      'llama',
      { rope_parameters: { rope_type: 'default', partial_rotary_factor: 0.5 } },
      'partial_rotary_factor',
    ],
    ['llama', { rope_parameters: { rope_type: 'default', rope_theta: -1 } }, 'rope_theta'],
    ['qwen2', { rope_parameters: { full_attention: {} } }, 'rope_parameters'],
    ['llama', { quantization_config: { quant_method: 'gptq', bits: 4 } }, 'gptq'],
    ['mistral', { attention_bias: true }, 'attention_bias'],
    ['qwen2', { mlp_bias: true }, 'mlp_bias'],
    ['qwen2', { use_sliding_window: true, layer_types: ['full_attention'] }, 'layer_types'],
    ['qwen3', { layer_types: Array.from({ length: 8 }, () => 'chunked_attention') }, 'layer_types'],
    ['phi3', { rope_scaling: { type: 'linear', factor: 2 } }, 'rope_scaling'],
    ['phi3', { head_dim: 10, partial_rotary_factor: 0.5 }, 'partial_rotary_factor'],
    ['smollm3', { no_rope_layers: [1, 0] }, 'no_rope_layers'],
    ['gemma3_text', { attn_logit_softcapping: 50 }, 'attn_logit_softcapping'],
    ['gemma3_text', { final_logit_softcapping: 30 }, 'final_logit_softcapping'],
    ['gemma3_text', { use_bidirectional_attention: true }, 'use_bidirectional_attention'],
    ['gemma3_text', { hidden_activation: 'gelu' }, 'hidden_activation'],
    ['llama', { num_key_value_heads: 3 }, 'num_key_value_heads'],
    ['llama', { head_dim: 7 }, 'head_dim'],
    ['llama', { num_hidden_layers: -1 }, 'num_hidden_layers'],
    ['llama', { vocab_size: undefined }, 'vocab_size'],
    ['deepseek_v3', {}, 'deepseek_v3'],
    ['constructor', {}, 'constructor'],
  ])('%s with %o', (modelType, fields, named) => {
    expect(() => architectureOf({ ...sizes, model_type: modelType, ...fields })).toThrow(
      expect.objectContaining({ code: 'invalid_config', message: expect.stringContaining(named) }),
    )
  })

  test('null and the harmless value are no reason to refuse', () => {
    const harmless = { attn_logit_softcapping: null, quantization_config: null, partial_rotary_factor: 1 }
    expect(() => architectureOf({ ...sizes, model_type: 'llama', ...harmless })).not.toThrow()
  })
})

describe("the presets of LoRA on phi3's fused layers", () => {
  const runtime = new Runtime()
  const family = new Map(readFamilies()).get('phi3')
  if (family === undefined) throw new Error('fixture')
  const { model } = familyModel(runtime, family)
  test.each([
    ['all', ['qkv_proj', 'o_proj', 'gate_up_proj', 'down_proj']],
    ['attention', ['qkv_proj', 'o_proj']],
    ['mlp', ['gate_up_proj', 'down_proj']],
  ] as const)('%s', (preset, layers) => {
    const config = { r: 2, lora_alpha: 4, lora_dropout: 0, target_modules: preset }
    const { linears } = LoraAdapter.create(model, config, 1)
    expect([...new Set(linears.map(({ path }) => path.split('.').at(-1)))]).toEqual(layers)
  })

  test('a list names layers that are there', () => {
    const config = { r: 2, lora_alpha: 4, lora_dropout: 0, target_modules: ['q_proj'] }
    expect(() => LoraAdapter.create(model, config, 1)).toThrow(/no layer named q_proj/)
  })
})

describe('rope scaling that depends on the length of the text', () => {
  const runtime = new Runtime()
  const families = new Map(readFamilies())

  test.each(['llama, dynamic', 'phi3, longrope'])(
    '%s: generation stays within the original length',
    (name) => {
      const family = families.get(name)
      if (family === undefined) throw new Error(name)
      const { model } = familyModel(runtime, family)
      expect(model.contextLength).toBe(12)
      const cache = model.createCache(1, 20)
      const ids = Int32Array.of(1)
      const step = { ids, positions: Int32Array.of(12), slots: Int32Array.of(0), cache }
      using plan = model.plan(null)
      expect(() => plan.step(step, [0])).toThrow(
        expect.objectContaining({ code: 'invalid_request', message: expect.stringContaining('12 tokens') }),
      )
    },
  )

  test('rows beyond it share no tokens', () => {
    const family = families.get('llama, dynamic')
    if (family === undefined) throw new Error('fixture')
    const { model, adapter } = familyModel(runtime, family)
    const row = (length: number) => ({
      ids: Int32Array.from({ length }, (_, t) => t),
      targetWeights: Float32Array.from({ length }, (_, t) => Math.min(t, 1)),
    })
    const together = lossAndGradients(model, adapter, [row(10), row(20)])
    const alone = [row(10), row(20)].map((one) => lossAndGradients(model, adapter, [one]).lossSum)
    expect(together.tokens).toBe(30)
    expect(together.lossSum).toBeCloseTo(
      alone.reduce((a, b) => a + b),
      3,
    )
  })

  test('a weight of another shape, or none, is named', () => {
    const [, family] = readFamilies()[0] ?? []
    if (family === undefined) throw new Error('fixture')
    const weights = familyWeights(family)
    const missing = new Map([...weights].filter(([name]) => !name.endsWith('layers.1.self_attn.q_proj.bias')))
    expect(() => createModel(runtime, family.config, missing)).toThrow('layers.1.self_attn.q_proj.bias')
  })
})
