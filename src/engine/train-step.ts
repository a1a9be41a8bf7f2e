/** One micro-batch of weighted next-token prediction: value and gradient, or the per-token values alone. */
import { ShadowError } from '../lib/error.ts'
import type { LoraAdapter } from './adapters/lora.ts'
import { type CausalLM, pack } from './models/causal-lm.ts'
import type { LoraView } from './nn/projections.ts'
import type { MicroBatchResult } from './optim/accumulator.ts'
import { linearCrossEntropy } from './tensor/fused.ts'
import { multiply, sum } from './tensor/ops.ts'
import type { Tensor } from './tensor/tensor.ts'

/** One sequence with the weight of predicting each of its tokens. */
export interface TrainRow {
  ids: Int32Array
  /** targetWeights[t]: weight of −log p(ids[t] | ids[<t]); 0 is context. Index 0 must be 0. Same length as ids. */
  targetWeights: Float32Array
}

interface Targets {
  /** The packed row that predicts each target. */
  rows: Int32Array
  targets: Int32Array
  weights: Float32Array
  weightSum: number
}

function collectTargets(batch: readonly TrainRow[], segments: Int32Array): Targets {
  const rows: number[] = []
  const targets: number[] = []
  const weights: number[] = []
  let weightSum = 0
  batch.forEach(({ ids, targetWeights }, index) => {
    if (ids.length !== targetWeights.length)
      throw new ShadowError(
        'invalid_request',
        `Row ${index} has ${ids.length} ids and ${targetWeights.length} weights.`,
      )
    if ((targetWeights[0] ?? 0) !== 0)
      throw new ShadowError(
        'invalid_request',
        `Row ${index} gives its first token a weight; nothing predicts that token.`,
      )
    targetWeights.forEach((weight, t) => {
      if (weight === 0) return
      rows.push((segments[index] ?? 0) + t - 1)
      targets.push(ids[t] ?? 0)
      weights.push(weight)
      weightSum += weight
    })
  })
  return {
    rows: Int32Array.from(rows),
    targets: Int32Array.from(targets),
    weights: Float32Array.from(weights),
    weightSum,
  }
}

/** −log p of every target, in the order of rows and tokens. (n) float32. */
function nllOfTargets(
  model: CausalLM,
  batch: readonly TrainRow[],
  lora: LoraView | null,
  gradient: boolean,
): { nll: Tensor; found: Targets } {
  const tokens = pack(batch.map((row) => row.ids))
  const found = collectTargets(batch, tokens.segments)
  if (found.rows.length === 0)
    throw new ShadowError('invalid_request', 'No token of the batch carries loss.', {
      hint: 'Drop rows without a weighted token before batching.',
    })
  const hidden = model.hidden(tokens, lora)
  const { runtime } = model
  const rows = runtime.fromInt32(found.rows)
  const targets = runtime.fromInt32(found.targets)
  return { nll: linearCrossEntropy(hidden, model.head, rows, targets, gradient), found }
}

export interface LossOptions {
  /** Keys the LoRA dropout of this micro-batch; needed when the adapter's lora_dropout is not 0. */
  dropoutSeed?: number
}

/**
 * Σ weight·nll over the batch and its gradient for the adapter's parameters, evaluated.
 * Sequences are packed without padding; the LM head runs only where a weight is not 0.
 * @throws ShadowError `invalid_request`, `training_diverged` when the loss is not finite.
 */
export function lossAndGradients(
  model: CausalLM,
  adapter: LoraAdapter,
  batch: readonly TrainRow[],
  options: LossOptions = {},
): MicroBatchResult {
  const { runtime } = model
  if (adapter.config.lora_dropout > 0 && options.dropoutSeed === undefined)
    throw new ShadowError('invalid_request', 'The adapter has dropout, so the step needs a dropoutSeed.')
  return runtime.tidy(() => {
    let weightSum = 0
    const { loss, gradients } = runtime.valueAndGrad((parameters) => {
      const lora = adapter.view(parameters, options.dropoutSeed)
      const { nll, found } = nllOfTargets(model, batch, lora, true)
      weightSum = found.weightSum
      return { loss: sum(multiply(nll, runtime.fromFloat32(found.weights))) }
    }, adapter.parameters)
    runtime.evaluate([loss, ...gradients])
    const lossSum = loss.item()
    if (!Number.isFinite(lossSum))
      throw new ShadowError('training_diverged', `The loss of this micro-batch is ${lossSum}.`, {
        hint: 'Lower learning_rate, or look for broken rows in the dataset.',
      })
    return { lossSum, weightSum, gradients }
  })
}

/** log p of every weighted token, in the order of rows and tokens, without gradients. Adapter null: the base model. */
export function targetLogProbabilities(
  model: CausalLM,
  adapter: LoraAdapter | null,
  batch: readonly TrainRow[],
): Float32Array {
  return model.runtime.tidy(() => {
    const { nll } = nllOfTargets(model, batch, adapter?.view() ?? null, false)
    return nll.toFloat32Array().map((value) => -value)
  })
}
