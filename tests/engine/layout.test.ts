import { describe, expect, it } from 'vitest'
import {
  type CausalLM,
  chooseLayout,
  LlamaForCausalLM,
  LoraAdapter,
  layoutDeviation,
  lossAndGradients,
  Runtime,
  type TrainRow,
} from '../../src/engine/index.ts'

const runtime = new Runtime()
const model = LlamaForCausalLM.random(
  runtime,
  {
    vocab_size: 29,
    hidden_size: 24,
    intermediate_size: 40,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    max_position_embeddings: 64,
    tie_word_embeddings: true,
  },
  21,
)
const config = { r: 4, lora_alpha: 8, lora_dropout: 0, target_modules: 'all' } as const
const rows: TrainRow[] = [0, 1, 2].map((row) => ({
  ids: Int32Array.from({ length: 20 }, (_, t) => (t < 12 ? t : (5 * row + t) % 29)),
  targetWeights: Float32Array.from({ length: 20 }, (_, t) => (t < 12 ? 0 : 1)),
}))

function choice(
  of: CausalLM,
  adapter: LoraAdapter,
  first: readonly TrainRow[] = rows,
): { layout: string; notes: string[] } {
  const notes: string[] = []
  const layout = chooseLayout(of, adapter, first, {
    maxTokensPerPass: 40,
    gradientCheckpointing: false,
    onNote: (note) => notes.push(note),
  })
  return { layout, notes }
}

/** A family that takes every run for a sequence of its own. */
const blind: CausalLM = {
  runtime,
  vocabularySize: model.vocabularySize,
  contextLength: model.contextLength,
  sharedLength: model.sharedLength,
  linears: model.linears,
  head: model.head,
  hidden: ({ ids, positions, segments }, lora) => model.hidden({ ids, positions, segments }, lora),
  plan: (lora) => model.plan(lora),
  logits: (hidden) => model.logits(hidden),
  createCache: (slots, positions) => model.createCache(slots, positions),
  rowNorms: (path) => model.rowNorms(path),
  baseTensors: () => model.baseTensors(),
  dispose: () => model.dispose(),
}

describe('the layout of a run', () => {
  it('is the tree where it agrees with the padded batch, and shared tokens count once', () => {
    const adapter = LoraAdapter.create(model, config, 1)
    expect(layoutDeviation(model, adapter, rows)).toBeLessThan(1e-5)
    expect(choice(model, adapter)).toEqual({ layout: 'tree', notes: [] })
    const { tokens, rowTokens } = lossAndGradients(model, adapter, rows)
    expect([tokens, rowTokens]).toEqual([12 + 3 * 8, 60])
  })

  it('is packed, and says so, for a model that gives other results in a tree', () => {
    const { layout, notes } = choice(blind, LoraAdapter.create(blind, config, 1))
    expect(layout).toBe('packed')
    expect(notes).toEqual([expect.stringContaining('differs from the padded batch')])
  })

  it('is decided on rows that share something, wherever they stand in the step', () => {
    const loners: TrainRow[] = [20, 25].map((id) => ({
      ids: Int32Array.from({ length: 19 }, (_, t) => (id + 3 * t) % 29),
      targetWeights: Float32Array.from({ length: 19 }, (_, t) => (t === 0 ? 0 : 1)),
    }))
    const [first, second] = rows
    if (first === undefined || second === undefined) throw new Error('two rows')
    const adapter = LoraAdapter.create(blind, config, 1)
    // A pass holds two rows.
    expect(choice(blind, adapter, [...loners, first, second]).layout).toBe('packed')
    expect(choice(model, adapter, [...loners, first, second]).layout).toBe('tree')
    expect(choice(blind, adapter, loners)).toEqual({ layout: 'tree', notes: [] })
  })

  it('is packed, and says so, under dropout', () => {
    const dropping = LoraAdapter.create(model, { ...config, lora_dropout: 0.1 }, 1)
    const { layout, notes } = choice(model, dropping)
    expect(layout).toBe('packed')
    expect(notes).toEqual([expect.stringContaining('lora_dropout is 0.1')])
  })
})
