/** Which rows a training broke on. */
import { ShadowError } from '../lib/error.ts'
import type { Adapter } from './adapters/adapter.ts'
import type { CausalLM } from './models/causal-lm.ts'
import { globalNorm } from './optim/accumulator.ts'
import { type LossOptions, lossAndGradients, type TrainRow } from './train-step.ts'

/**
 * The error for a step whose gradient is not a finite number: names the rows whose own gradient is not, each looked at
 * alone.
 */
export function gradientProblem(
  model: CausalLM,
  adapter: Adapter,
  rows: readonly TrainRow[],
  options: LossOptions = {},
): ShadowError {
  const broken = rows.filter((row) => {
    const { gradients } = lossAndGradients(model, adapter, [row], options)
    const norm = globalNorm(model.runtime, gradients)
    for (const gradient of gradients) gradient.dispose()
    return !Number.isFinite(norm)
  })
  const [first = 'no single row', ...others] = new Set(broken.map((row) => row.name ?? 'a row'))
  const rest = others.length === 0 ? '' : ` and ${others.length} more`
  return new ShadowError('training_diverged', `The gradient is not a finite number: ${first}${rest}.`, {
    hint: 'Lower learning_rate, or look at that row of the dataset.',
  })
}
