/**
 * `npm run bench -- unique`: an optimizer step over 16 rows that share 900 tokens and have 30 of their own, laid out as
 * a tree and row by row. All rows are equally long, so row by row is the padded batch too.
 */
import {
  AdamW,
  clipScale,
  GradientAccumulator,
  type LayoutName,
  LlamaForCausalLM,
  LoraAdapter,
  lossAndGradients,
  passesOf,
  Runtime,
  type TrainRow,
} from '../src/engine/index.ts'
import { median, type Row } from './row.ts'
import { smolLm2 } from './smollm2-shape.ts'

const rowCount = 16
const sharedTokens = 900
const ownTokens = 30
/** Holds the whole tree, and one row of the padded batch. */
const maxTokensPerPass = 1408
const leastSpeedUp = 8

interface StepResult {
  seconds: number
  loss: number
  tokens: number
}

/** The answer, the last 30 tokens of each row, carries loss. */
function workload(): TrainRow[] {
  const length = sharedTokens + ownTokens
  return Array.from({ length: rowCount }, (_, row) => ({
    ids: Int32Array.from(
      { length },
      (_, t) => ((t < sharedTokens ? 0 : row + 1) * 7919 + t * 104_729 + 13) % smolLm2.vocab_size,
    ),
    targetWeights: Float32Array.from({ length }, (_, t) => (t < sharedTokens ? 0 : 1)),
  }))
}

/** Tree steps around a padded one, so that a machine that slows down meanwhile slows both. */
export async function run(): Promise<Row[]> {
  const runtime = new Runtime()
  const model = LlamaForCausalLM.random(runtime, smolLm2, 1)
  const lora = { r: 16, lora_alpha: 32, lora_dropout: 0, target_modules: 'all' } as const
  const adapter = LoraAdapter.create(model, lora, 2)
  const optimizer = new AdamW(runtime, adapter.parameters)
  const sums = new GradientAccumulator(runtime)
  const rows = workload()
  const step = (layout: LayoutName): StepResult => {
    const start = performance.now()
    let tokens = 0
    for (const pass of passesOf(rows, maxTokensPerPass, layout)) {
      const result = lossAndGradients(model, adapter, pass, { layout })
      tokens += result.tokens
      sums.add(result)
    }
    const loss = sums.meanLoss
    // A learning rate of 0 does a step's whole work and leaves the losses comparable.
    optimizer.update(sums.gradients, 0, clipScale(sums.meanGradientNorm, 1) / sums.weightSum)
    sums.reset()
    return { seconds: (performance.now() - start) / 1000, loss, tokens }
  }
  step('tree')
  const order = ['tree', 'packed', 'tree'] as const
  const results = order.map((layout) => ({ layout, ...step(layout) }))
  const secondsOf = (layout: LayoutName): number =>
    median(results.filter((result) => result.layout === layout).map(({ seconds }) => seconds))
  const [tree, padded] = [secondsOf('tree'), secondsOf('packed')]
  const [first] = results
  const other = results.find(({ layout }) => layout === 'packed')
  const deviation = Math.abs((first?.loss ?? Number.NaN) / (other?.loss ?? Number.NaN) - 1)
  const ratio = padded / tree
  const work = `SmolLM2-135M shape, LoRA r=16 on all linear layers, ${rowCount} rows of ${sharedTokens} shared and ${ownTokens} own tokens, f32, ${runtime.threads} threads`
  return [
    {
      id: 'train.unique',
      what: `${work}: step time of the tree, against the padded batch (baseline); ${first?.tokens} tokens computed against ${other?.tokens}, losses differ by ${deviation.toExponential(1)} relative`,
      value: tree,
      unit: 's a step',
      baseline: padded,
      ratio,
      must: `baseline / value ≥ ${leastSpeedUp}`,
      aim: null,
      ok: ratio >= leastSpeedUp && deviation < 1e-5,
    },
  ]
}
