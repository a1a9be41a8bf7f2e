/** Batches whose rows branch off one another, laid out as a tree, packed, and padded. */
import {
  type CausalLM,
  createModel,
  LoraAdapter,
  lossAndGradients,
  type Runtime,
  type TrainRow,
} from '../../src/engine/index.ts'
import { padRows } from '../../src/engine/layout-deviation.ts'
import { architectureTensors } from '../../src/engine/models/architecture.ts'
import { architectureOf } from '../../src/engine/models/registry.ts'
import { seededRandom } from '../../src/lib/random.ts'
import { pseudoRandom } from './pseudo-random.ts'

/** Of the model of the tries. */
export const triesVocabulary = 23

/**
 * A tiny Llama through whose layers the variance stays about 1, as in a trained one: with smaller weights rounding alone
 * reaches 1e-5 in rows of a few tokens, whatever their layout.
 */
export function triesModel(runtime: Runtime): { model: CausalLM; adapter: LoraAdapter } {
  const config = {
    model_type: 'llama',
    vocab_size: triesVocabulary,
    hidden_size: 24,
    intermediate_size: 40,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    rms_norm_eps: 1e-5,
    rope_theta: 10_000,
    max_position_embeddings: 512,
    tie_word_embeddings: false,
  }
  const shapes = [...architectureTensors(architectureOf(config))]
  const weights = shapes.map(([name, shape], seed) => {
    const size = shape.reduce((product, axis) => product * axis, 1)
    const scale =
      Math.sqrt(3 / (name.includes('embed') ? 1 : (shape.at(-1) ?? 1))) * (name.includes('lm_head') ? 0.2 : 1)
    const data = shape.length === 1 ? new Float32Array(size).fill(1) : pseudoRandom(size, seed, scale)
    return [name, { shape, data }] as const
  })
  const model = createModel(runtime, config, new Map(weights))
  const lora = { r: 4, lora_alpha: 8, lora_dropout: 0, target_modules: 'all' } as const
  const adapter = LoraAdapter.create(model, lora, 12)
  // With B at zero the gradient of A would vanish.
  adapter.restore(
    new Map(
      [...adapter.tensors()].map(([name, { shape, data }], index) => [
        name,
        { shape, data: name.includes('lora_B') ? pseudoRandom(data.length, index, 0.3) : data },
      ]),
    ),
  )
  return { model, adapter }
}

/**
 * The largest relative distance of a gradient from the reference's.
 * @param leastShare each is related to this share of all at least. Rounding is of the size of the whole: of a gradient that
 *   vanishes (queries that see one key have none) nothing else is left, which a search for the worst case finds
 */
export function gradientDistance(
  gradients: readonly Float32Array[],
  reference: readonly Float32Array[],
  leastShare = 1e-4,
): number {
  const norms = reference.map((gradient) => Math.hypot(...gradient))
  const floor = leastShare * Math.hypot(...norms)
  return Math.max(
    ...reference.map((expected, index) => {
      const off = expected.map((value, at) => (gradients[index]?.[at] ?? Number.NaN) - value)
      return Math.hypot(...off) / Math.max(norms[index] ?? 0, floor)
    }),
  )
}

/** Loss and gradients, copied out. */
export function outcome(
  model: CausalLM,
  adapter: LoraAdapter,
  rows: readonly TrainRow[],
  layout: 'tree' | 'packed' | 'padded',
) {
  const [laidOut, name] = layout === 'padded' ? [padRows(rows), 'packed' as const] : [rows, layout]
  const { gradients, ...sums } = lossAndGradients(model, adapter, laidOut, { layout: name })
  const values = gradients.map((gradient) => gradient.toFloat32Array())
  for (const gradient of gradients) gradient.dispose()
  return { ...sums, gradients: values }
}

/** One to eight rows, each going on from a prefix of an earlier one; some repeat, some end inside others. */
function randomRows(random: () => number): TrainRow[] {
  const rows: TrainRow[] = []
  const count = 1 + Math.floor(8 * random())
  while (rows.length < count) {
    const parent = rows[Math.floor(rows.length * random())]?.ids ?? new Int32Array()
    const own = Int32Array.from({ length: Math.floor(80 * random()) }, () =>
      Math.floor(triesVocabulary * random()),
    )
    const ids = Int32Array.of(...parent.slice(0, Math.round(random() * parent.length)), ...own)
    if (ids.length < 2) continue
    const targetWeights = Float32Array.from(ids, (_, t) =>
      t === 0 ? 0 : ([0, 0, 1, 0.5, 2][Math.floor(5 * random())] ?? 0),
    )
    targetWeights[ids.length - 1] = 1
    rows.push({ ids, targetWeights })
  }
  return rows
}

/**
 * The largest relative distance of loss and of any gradient from those of the padded batch, over `count` tries: of the
 * tree, and of rows that are packed end to end.
 */
export function layoutDistances(runtime: Runtime, count: number): { tree: number; packed: number } {
  const { model, adapter } = triesModel(runtime)
  const random = seededRandom(17)
  const worst = { tree: 0, packed: 0 }
  for (let run = 0; run < count; run++) {
    const rows = randomRows(random)
    const padded = outcome(model, adapter, rows, 'padded')
    for (const layout of ['tree', 'packed'] as const) {
      const { lossSum, gradients } = outcome(model, adapter, rows, layout)
      worst[layout] = Math.max(
        worst[layout],
        Math.abs(lossSum / padded.lossSum - 1),
        gradientDistance(gradients, padded.gradients),
      )
    }
  }
  return worst
}
