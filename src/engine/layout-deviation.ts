/** How far the tree is from the packed batch, for a model whose family may not have been tried with it. */
import type { Adapter } from './adapters/adapter.ts'
import type { CausalLM } from './models/causal-lm.ts'
import { type LossOptions, lossAndGradients, type TrainRow } from './train-step.ts'

/**
 * The larger of two relative differences between the same rows laid out as a tree and packed: of the loss, and of the
 * gradient over all parameters (Euclidean norm). About 1e-6 where the family's attention, positions and rotary
 * embedding follow the tree. Not defined under dropout.
 */
export function layoutDeviation(
  model: CausalLM,
  adapter: Adapter,
  rows: readonly TrainRow[],
  options: Pick<LossOptions, 'gradientCheckpointing'> = {},
): number {
  return model.runtime.tidy(() => {
    const tree = lossAndGradients(model, adapter, rows, { ...options, layout: 'tree' })
    const packed = lossAndGradients(model, adapter, rows, { ...options, layout: 'packed' })
    let difference = 0
    let norm = 0
    packed.gradients.forEach((gradient, index) => {
      const values = tree.gradients[index]?.toFloat32Array()
      gradient.toFloat32Array().forEach((value, at) => {
        difference += ((values?.[at] ?? Number.NaN) - value) ** 2
        norm += value ** 2
      })
    })
    // Where there is nothing to learn both gradients are zero.
    const ofGradient = difference === 0 ? 0 : Math.sqrt(difference / norm)
    const ofLoss =
      tree.lossSum === packed.lossSum ? 0 : Math.abs(tree.lossSum - packed.lossSum) / Math.abs(packed.lossSum)
    return Math.max(ofGradient, ofLoss)
  })
}
