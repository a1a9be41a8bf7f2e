/** One micro-batch of weighted next-token prediction: value and gradient, or the per-token values alone. */
import { ShadowError } from '../lib/error.ts'
import type { Adapter } from './adapters/adapter.ts'
import type { CausalLM } from './models/causal-lm.ts'
import type { AdapterView } from './nn/adapter-view.ts'
import { checkMemory } from './memory-guard.ts'
import { headLoss } from './nn/head-loss.ts'
import type { MicroBatchResult } from './optim/accumulator.ts'
import { contiguous, multiply, sum } from './tensor/ops.ts'
import type { Tensor } from './tensor/tensor.ts'
import { type LayoutName, layOut, type RowLayout } from './tree/token-tree.ts'

/** One sequence with the weight of predicting each of its tokens. */
export interface TrainRow {
  /** Token ids below the model's vocabulary, two at least. */
  ids: Int32Array
  /** targetWeights[t]: weight of −log p(ids[t] | ids[<t]); 0 is context. Index 0 must be 0. Same length as ids. */
  targetWeights: Float32Array
  /** How an error names the row. Default: its place in the batch. */
  name?: string
}

/**
 * What is predicted, each place once: rows that share a token and all before it share its prediction. The terms stay
 * apart by row; for a weighted sum they come down to one weight a prediction.
 */
interface Predictions {
  /** The laid-out token whose hidden state predicts: the target's parent. */
  from: Int32Array
  targets: Int32Array
  /** Σ of the rows' weights. */
  weights: Float32Array
  /** Σ over all rows and tokens. */
  weightSum: number
  /** The prediction of each weighted token, by row. */
  terms: readonly Int32Array[]
}

function nameOf(row: TrainRow, index: number): string {
  return row.name ?? `Row ${index} of the batch`
}

function checkRow(row: TrainRow, index: number): void {
  const { ids, targetWeights } = row
  if (ids.length !== targetWeights.length)
    throw new ShadowError(
      'invalid_request',
      `${nameOf(row, index)} has ${ids.length} ids and ${targetWeights.length} weights.`,
    )
  if ((targetWeights[0] ?? 0) !== 0)
    throw new ShadowError(
      'invalid_request',
      `${nameOf(row, index)} gives its first token a weight; nothing predicts that token.`,
    )
}

function collectPredictions(batch: readonly TrainRow[], { tokens, places }: RowLayout): Predictions {
  const from: number[] = []
  const targets: number[] = []
  const weights: number[] = []
  let weightSum = 0
  const predictionOf = new Int32Array(tokens.ids.length).fill(-1)
  const terms = batch.map((row, index) => {
    checkRow(row, index)
    const place = places[index] ?? new Int32Array()
    const own: number[] = []
    row.targetWeights.forEach((weight, t) => {
      if (weight === 0) return
      const target = place[t] ?? 0
      let prediction = predictionOf[target] ?? -1
      if (prediction < 0) {
        prediction = from.push(place[t - 1] ?? 0) - 1
        targets.push(row.ids[t] ?? 0)
        weights.push(0)
        predictionOf[target] = prediction
      }
      weights[prediction] = (weights[prediction] ?? 0) + weight
      weightSum += weight
      own.push(prediction)
    })
    return Int32Array.from(own)
  })
  return {
    from: Int32Array.from(from),
    targets: Int32Array.from(targets),
    weights: Float32Array.from(weights),
    weightSum,
    terms,
  }
}

interface Prepared {
  layout: RowLayout
  predictions: Predictions
}

function prepare(model: CausalLM, batch: readonly TrainRow[], layoutName: LayoutName): Prepared {
  const canShare = batch.every((row) => row.ids.length <= model.sharedLength)
  const layout = layOut(
    batch.map((row) => row.ids),
    canShare ? layoutName : 'packed',
  )
  const predictions = collectPredictions(batch, layout)
  if (predictions.from.length === 0)
    throw new ShadowError('invalid_request', 'No token of the batch carries loss.', {
      hint: 'Drop rows without a weighted token before batching.',
    })
  return { layout, predictions }
}

/** −log p of every prediction. (predictions) float32. */
function nllOf(
  model: CausalLM,
  { layout, predictions }: Prepared,
  view: AdapterView | null,
  gradient: boolean,
  checkpointed?: readonly Tensor[],
): Tensor {
  const hidden = model.hidden(layout.tokens, view, checkpointed)
  return headLoss(hidden, model.head, predictions, view, gradient)
}

/** How the loss of a micro-batch is computed. */
export interface LossOptions {
  /** Keys the LoRA dropout of this micro-batch; needed when the adapter's lora_dropout is not 0. */
  dropoutSeed?: number
  /**
   * `tree` computes what rows share once, `packed` each row on its own; loss and gradients are the same. Dropout
   * draws for each row, so with it only `packed` is possible. Default: `tree`, with dropout `packed`.
   */
  layout?: LayoutName
  /** Keep each block's input alone, and compute the block again in the backward pass: same bits, less memory, slower. */
  gradientCheckpointing?: boolean
}

/**
 * Σ weight·nll over the batch and its gradient for the adapter's parameters, evaluated.
 * Nothing is padded; the LM head runs only where a weight is not 0.
 * @throws ShadowError `invalid_request`, `training_diverged` when the loss is not finite, naming the rows,
 *   `out_of_memory` for a pass that the machine cannot hold
 */
export function lossAndGradients(
  model: CausalLM,
  adapter: Adapter,
  batch: readonly TrainRow[],
  options: LossOptions = {},
): MicroBatchResult {
  const { runtime } = model
  const dropout = adapter.dropout > 0
  if (dropout && options.dropoutSeed === undefined)
    throw new ShadowError('invalid_request', 'The adapter has dropout, so the step needs a dropoutSeed.')
  if (dropout && options.layout === 'tree')
    throw new ShadowError('invalid_request', 'Rows cannot share tokens under dropout.', {
      hint: "Set lora_dropout to 0, or the layout to 'packed'.",
    })
  const prepared = prepare(model, batch, options.layout ?? (dropout ? 'packed' : 'tree'))
  const { predictions } = prepared
  const sparing = options.gradientCheckpointing === true
  checkMemory(model, prepared.layout.tokens.ids.length, sparing)
  return runtime.tidy(() => {
    const { loss, auxiliary, ...graph } = runtime.valueAndGrad((parameters) => {
      const view = adapter.view(parameters, options.dropoutSeed)
      const nll = nllOf(model, prepared, view, true, sparing ? parameters : undefined)
      return { loss: sum(multiply(nll, runtime.fromFloat32(predictions.weights))), auxiliary: [nll] }
    }, adapter.parameters)
    // Under dropout some come transposed; they are added up in place.
    const gradients = graph.gradients.map(contiguous)
    runtime.evaluate([loss, ...auxiliary, ...gradients], { sparing })
    const lossSum = loss.item()
    if (!Number.isFinite(lossSum))
      throw diverged(batch, predictions, auxiliary[0]?.toFloat32Array() ?? new Float32Array())
    const tokens = prepared.layout.tokens.ids.length
    const rowTokens = batch.reduce((total, row) => total + row.ids.length, 0)
    return { lossSum, weightSum: predictions.weightSum, tokens, rowTokens, gradients }
  })
}

/** Names the rows whose own loss is not a number, or whose weights are not. */
function diverged(batch: readonly TrainRow[], { terms }: Predictions, nll: Float32Array): ShadowError {
  const broken = batch.flatMap((row, index) => {
    const finite = (terms[index] ?? []).every((term) => Number.isFinite(nll[term]))
    return finite && row.targetWeights.every(Number.isFinite) ? [] : [nameOf(row, index)]
  })
  const [first = 'no single row', ...others] = broken
  const rest = others.length === 0 ? '' : ` and ${others.length} more`
  return new ShadowError('training_diverged', `The loss is not a finite number: ${first}${rest}.`, {
    hint: 'Lower learning_rate, or look at that row of the dataset.',
  })
}

/** log p of every weighted token, in the order of rows and tokens, without gradients. Adapter null: the base model. */
export function targetLogProbabilities(
  model: CausalLM,
  adapter: Adapter | null,
  batch: readonly TrainRow[],
  layout: LayoutName = 'tree',
): Float32Array {
  const prepared = prepare(model, batch, layout)
  return model.runtime.tidy(() => {
    const nll = nllOf(model, prepared, adapter?.view() ?? null, false).toFloat32Array()
    return Float32Array.from(
      prepared.predictions.terms.flatMap((terms) => Array.from(terms, (term) => -(nll[term] ?? Number.NaN))),
    )
  })
}
