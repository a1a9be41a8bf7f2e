/** One step of training: passes, their gradients summed by token, clipping, AdamW. */
import type { Adapter } from './adapters/adapter.ts'
import { gradientProblem } from './divergence.ts'
import type { CausalLM } from './models/causal-lm.ts'
import { clipScale, GradientAccumulator } from './optim/accumulator.ts'
import type { Optimizer } from './optim/optimizer.ts'
import { type LossOptions, lossAndGradients, type TrainRow } from './train-step.ts'

/** What `takeOptimizerStep` works on. */
export interface OptimizerStep {
  /** The base, frozen unless the adapter is the base itself. */
  readonly model: CausalLM
  /** What is trained, in place. */
  readonly adapter: Adapter
  /** Made for the adapter's parameters. */
  readonly optimizer: Optimizer
  /** The step's rows, as many at once as memory bears. */
  readonly passes: readonly (readonly TrainRow[])[]
  /** Of this step. */
  readonly learningRate: number
  /** Null: gradients are not clipped. */
  readonly maxGradNorm: number | null
  /** For each pass by its index. */
  readonly lossOptions?: (pass: number) => LossOptions
}

export interface StepSums {
  /** Σ weight·nll / Σ weight, nats a token, before the step's update. */
  readonly loss: number
  /** The norm of its gradient, before clipping. */
  readonly gradNorm: number
  /** Tokens that were computed: in a tree, each shared one once. */
  readonly tokens: number
  /** Tokens of all rows, each row on its own. */
  readonly rowTokens: number
}

/**
 * Takes one step in place.
 * @throws ShadowError `training_diverged`, `invalid_request`
 */
export function takeOptimizerStep(step: OptimizerStep): StepSums {
  const { model, adapter, optimizer, passes, learningRate, maxGradNorm, lossOptions } = step
  const sums = new GradientAccumulator(model.runtime)
  try {
    let [tokens, rowTokens] = [0, 0]
    for (const [pass, rows] of passes.entries()) {
      const result = lossAndGradients(model, adapter, rows, lossOptions?.(pass))
      tokens += result.tokens
      rowTokens += result.rowTokens
      sums.add(result)
    }
    const [loss, gradNorm] = [sums.meanLoss, sums.meanGradientNorm]
    if (!Number.isFinite(gradNorm)) {
      sums.reset()
      throw gradientProblem(model, adapter, passes.flat(), lossOptions?.(0))
    }
    optimizer.update(sums.gradients, learningRate, clipScale(gradNorm, maxGradNorm) / sums.weightSum)
    return { loss, gradNorm, tokens, rowTokens }
  } finally {
    sums.reset()
  }
}
