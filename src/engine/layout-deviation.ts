/** How far the tree is from the padded batch, for a model whose family may not have been tried with it. */
import type { Adapter } from './adapters/adapter.ts'
import type { CausalLM } from './models/causal-lm.ts'
import { type LossOptions, lossAndGradients, type TrainRow } from './train-step.ts'

/**
 * The batch as trainers without a tree compute it: every row as long as the longest. The filling stands behind the row,
 * where causal attention hides it from the row's own tokens, and carries no loss.
 */
export function padRows(rows: readonly TrainRow[]): TrainRow[] {
  const longest = Math.max(...rows.map(({ ids }) => ids.length))
  return rows.map((row) => {
    const ids = new Int32Array(longest)
    const targetWeights = new Float32Array(longest)
    ids.set(row.ids)
    targetWeights.set(row.targetWeights)
    return { ...row, ids, targetWeights }
  })
}

/**
 * The larger of two relative differences between the same rows laid out as a tree and as a padded batch: of the loss,
 * and of the gradient over all parameters (Euclidean norm). About 1e-6 where the family's attention, positions and
 * rotary embedding follow the tree. Not defined under dropout.
 * @param rows none longer than `model.sharedLength`: longer ones share nothing, and padding would change their angles
 * @throws ShadowError `invalid_request`, `training_diverged`
 */
export function layoutDeviation(
  model: CausalLM,
  adapter: Adapter,
  rows: readonly TrainRow[],
  options: Pick<LossOptions, 'gradientCheckpointing'> = {},
): number {
  return model.runtime.tidy(() => {
    const tree = lossAndGradients(model, adapter, rows, { ...options, layout: 'tree' })
    const padded = lossAndGradients(model, adapter, padRows(rows), { ...options, layout: 'packed' })
    let difference = 0
    let norm = 0
    padded.gradients.forEach((gradient, index) => {
      const values = tree.gradients[index]?.toFloat32Array()
      gradient.toFloat32Array().forEach((value, at) => {
        difference += ((values?.[at] ?? Number.NaN) - value) ** 2
        norm += value ** 2
      })
    })
    // Where there is nothing to learn both gradients are zero.
    const ofGradient = difference === 0 ? 0 : Math.sqrt(difference / norm)
    const ofLoss =
      tree.lossSum === padded.lossSum ? 0 : Math.abs(tree.lossSum - padded.lossSum) / Math.abs(padded.lossSum)
    return Math.max(ofGradient, ofLoss)
  })
}
