/** How the steps of a run are laid out. Decided once, at its start, so that a resumed run decides the same. */
import type { TrainConfig } from '../src/contract/train-config.ts'
import {
  type CausalLM,
  type LayoutName,
  layoutDeviation,
  type Adapter,
  type TrainRow,
} from '../src/engine/index.ts'

/** Relative; rounding stays a hundred times below it. */
const largestDeviation = 1e-4

/**
 * `tree`, unless the adapter drops elements for each row, or this model gives other results in a tree than packed:
 * then `packed`, with a sentence about it. The comparison costs two passes.
 * @param adapter as it is before the first step
 * @param rows of the first step
 */
export function chooseLayout(
  model: CausalLM,
  adapter: Adapter,
  rows: readonly TrainRow[],
  config: Pick<TrainConfig, 'max_tokens_per_pass' | 'gradient_checkpointing'>,
  onNote: (text: string) => void,
): LayoutName {
  const { dropout } = adapter
  if (dropout > 0) {
    onNote(
      `lora_dropout is ${dropout}, which draws for each row: prefixes that rows share are computed for each`,
    )
    return 'packed'
  }
  const compared = rowsToCompare(rows, config.max_tokens_per_pass)
  if (compared.length < 2) return 'tree'
  const deviation = layoutDeviation(model, adapter, compared, {
    gradientCheckpointing: config.gradient_checkpointing,
  })
  if (deviation <= largestDeviation) return 'tree'
  onNote(
    `the tree of the first step differs from the packed batch by ${deviation.toExponential(1)} (more than ${largestDeviation}): rows are packed, and prefixes that they share are computed for each`,
  )
  return 'packed'
}

/** Rows of the step that fit into one pass side by side, two at least. */
function rowsToCompare(rows: readonly TrainRow[], maxTokens: number): TrainRow[] {
  let tokens = 0
  return rows.filter((row, index) => {
    tokens += row.ids.length
    return index < 2 || tokens <= maxTokens
  })
}
