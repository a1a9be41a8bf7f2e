/** One step of training: passes, their gradients summed by token, clipping, AdamW. */
import type { Adapter } from './adapters/adapter.ts'
import { gradientProblem } from './divergence.ts'
import type { CausalLM } from './models/causal-lm.ts'
import { clipScale, GradientAccumulator } from './optim/accumulator.ts'
import type { Optimizer } from './optim/optimizer.ts'
import { type LossOptions, lossAndGradients, type TrainRow } from './train-step.ts'

export interface OptimizerStep {
  readonly model: CausalLM
  readonly adapter: Adapter
  readonly optimizer: Optimizer
  /** The step's rows, as many at once as memory bears. */
  readonly passes: readonly (readonly TrainRow[])[]
  readonly learningRate: number
  /** Null: gradients are not clipped. */
  readonly maxGradNorm: number | null
  /** For each pass by its index. */
  readonly lossOptions?: (pass: number) => LossOptions
}

/**
 * Takes one step in place.
 * @returns Σ weight·nll / Σ weight in nats a token, and the norm of its gradient before clipping
 * @throws ShadowError `training_diverged`, `invalid_request`
 */
export function takeOptimizerStep(step: OptimizerStep): { loss: number; gradNorm: number } {
  const { model, adapter, optimizer, passes, learningRate, maxGradNorm, lossOptions } = step
  const sums = new GradientAccumulator(model.runtime)
  try {
    for (const [pass, rows] of passes.entries())
      sums.add(lossAndGradients(model, adapter, rows, lossOptions?.(pass)))
    const [loss, gradNorm] = [sums.meanLoss, sums.meanGradientNorm]
    if (!Number.isFinite(gradNorm)) {
      sums.reset()
      throw gradientProblem(model, adapter, passes.flat(), lossOptions?.(0))
    }
    optimizer.update(sums.gradients, learningRate, clipScale(gradNorm, maxGradNorm) / sums.weightSum)
    return { loss, gradNorm }
  } finally {
    sums.reset()
  }
}
