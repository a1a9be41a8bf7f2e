/** A step's rows as passes that memory bears. */
import type { TrainRow } from '../train-step.ts'
import { partitionIntoTrees } from './partition.ts'
import type { LayoutName } from './token-tree.ts'

/**
 * Splits a step's rows so that no pass computes more than `maxTokens` tokens: in a tree, what rows share counts once.
 * A longer row gets a pass of its own. Packed rows keep their order.
 */
export function passesOf(rows: readonly TrainRow[], maxTokens: number, layout: LayoutName): TrainRow[][] {
  if (layout === 'tree') {
    const passes = partitionIntoTrees(
      rows.map((row) => row.ids),
      maxTokens,
    )
    return passes.map((pass) => pass.flatMap((index) => rows[index] ?? []))
  }
  const passes: TrainRow[][] = []
  let tokens = Number.POSITIVE_INFINITY
  for (const row of rows) {
    if (tokens + row.ids.length > maxTokens) {
      passes.push([])
      tokens = 0
    }
    passes.at(-1)?.push(row)
    tokens += row.ids.length
  }
  return passes
}
