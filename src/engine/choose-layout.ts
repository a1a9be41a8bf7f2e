/** How the steps of a training are laid out. Decided once, at its start, so that a resumed one decides the same. */
import type { Adapter } from './adapters/adapter.ts'
import { layoutDeviation } from './layout-deviation.ts'
import type { CausalLM } from './models/causal-lm.ts'
import type { TrainRow } from './train-step.ts'
import { commonPrefix, prefixOrder } from './tree/prefix-order.ts'
import type { LayoutName } from './tree/token-tree.ts'

/** Relative; rounding stays a hundred times below it. */
const largestDeviation = 1e-4

/** What `chooseLayout` goes by. */
export interface LayoutOptions {
  /** Tokens that a pass may have. */
  readonly maxTokensPerPass: number
  /** As the training will compute. */
  readonly gradientCheckpointing: boolean
  /** Told why rows share nothing. */
  onNote(text: string): void
}

/**
 * `tree`, unless the adapter drops elements for each row, or this model gives other results in a tree than in a padded
 * batch: then `packed`, with a sentence about it. The comparison costs two passes.
 * @param adapter as it is before the first step
 * @param rows of the first step
 */
export function chooseLayout(
  model: CausalLM,
  adapter: Adapter,
  rows: readonly TrainRow[],
  { maxTokensPerPass, gradientCheckpointing, onNote }: LayoutOptions,
): LayoutName {
  const { dropout } = adapter
  if (dropout > 0) {
    onNote(
      `lora_dropout is ${dropout}, which draws for each row: prefixes that rows share are computed for each`,
    )
    return 'packed'
  }
  const sharing = rows.filter(({ ids }) => ids.length <= model.sharedLength)
  const compared = rowsToCompare(sharing, maxTokensPerPass)
  if (compared.length < 2) return 'tree'
  const deviation = layoutDeviation(model, adapter, compared, { gradientCheckpointing })
  if (deviation <= largestDeviation) return 'tree'
  onNote(
    `the tree of the first step differs from the padded batch by ${deviation.toExponential(1)} (more than ${largestDeviation}): rows are packed, and prefixes that they share are computed for each`,
  )
  return 'packed'
}

/**
 * Rows of the step that share a prefix: the two that share the most, and their neighbours in prefix order as far as all
 * fit into one padded pass. None where no two share a token: there a tree is nothing new.
 */
function rowsToCompare(rows: readonly TrainRow[], maxTokens: number): TrainRow[] {
  const order = prefixOrder(rows.map(({ ids }) => ids)).flatMap((index) => rows[index] ?? [])
  const shared = order.slice(1).map((row, at) => commonPrefix(order[at]?.ids ?? new Int32Array(), row.ids))
  const most = Math.max(0, ...shared)
  if (most === 0) return []
  const first = shared.indexOf(most)
  let [from, to] = [first, first + 2]
  let longest = Math.max(...order.slice(from, to).map(({ ids }) => ids.length))
  const takes = (row: TrainRow | undefined): boolean => {
    if (row === undefined) return false
    const padded = Math.max(longest, row.ids.length)
    if ((to - from + 1) * padded > maxTokens) return false
    longest = padded
    return true
  }
  while (takes(order[to])) to++
  while (takes(order[from - 1])) from--
  return order.slice(from, to)
}
