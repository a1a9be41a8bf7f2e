/** Batches whose rows branch off one another, laid out as a tree and packed. */
import {
  LlamaForCausalLM,
  LoraAdapter,
  lossAndGradients,
  type Runtime,
  type TrainRow,
} from '../../src/engine/index.ts'
import { seededRandom } from '../../src/lib/random.ts'
import { pseudoRandom } from './pseudo-random.ts'
import { relativeError } from './tiny-llama.ts'

const vocabulary = 23

/** One to eight rows, each going on from a prefix of an earlier one; some repeat, some end inside others. */
function randomRows(random: () => number): TrainRow[] {
  const rows: TrainRow[] = []
  const count = 1 + Math.floor(8 * random())
  while (rows.length < count) {
    const parent = rows[Math.floor(rows.length * random())]?.ids ?? new Int32Array()
    const own = Int32Array.from({ length: Math.floor(80 * random()) }, () =>
      Math.floor(vocabulary * random()),
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

/** The largest relative difference of loss and of any gradient between tree and packed batch, over `count` tries. */
export function treeDistance(runtime: Runtime, count: number): number {
  const model = LlamaForCausalLM.random(
    runtime,
    {
      vocab_size: vocabulary,
      hidden_size: 24,
      intermediate_size: 40,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      rms_norm_eps: 1e-5,
      rope_theta: 10_000,
      max_position_embeddings: 512,
      tie_word_embeddings: false,
    },
    11,
  )
  const config = { r: 4, lora_alpha: 8, lora_dropout: 0, target_modules: 'all' } as const
  const adapter = LoraAdapter.create(model, config, 12)
  // With B at zero the gradient of A would vanish.
  adapter.restore(
    new Map(
      [...adapter.tensors()].map(([name, { shape, data }], index) => [
        name,
        { shape, data: name.includes('lora_B') ? pseudoRandom(data.length, index, 0.3) : data },
      ]),
    ),
  )
  const random = seededRandom(17)
  let worst = 0
  for (let run = 0; run < count; run++) {
    const rows = randomRows(random)
    const tree = lossAndGradients(model, adapter, rows, { layout: 'tree' })
    const packed = lossAndGradients(model, adapter, rows, { layout: 'packed' })
    worst = Math.max(worst, Math.abs(tree.lossSum / packed.lossSum - 1))
    packed.gradients.forEach((gradient, index) => {
      const shared = tree.gradients[index]
      if (shared === undefined) throw new RangeError(`gradient ${index}`)
      worst = Math.max(worst, relativeError(shared.toFloat32Array(), gradient.toFloat32Array()))
      shared.dispose()
      gradient.dispose()
    })
  }
  return worst
}
