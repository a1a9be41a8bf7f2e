import type { DatasetRow } from '../../src/contract/dataset.ts'
import type { TrainConfig } from '../../src/contract/train-config.ts'
import type { ModelText, TrainRow } from '../../src/engine/index.ts'

/** How a method sees the dataset. */
export interface Method {
  readonly name: string
  /**
   * Token rows for the loss, in the dataset's order.
   * @returns the rows, and a sentence for each thing that a person should know about what was left out
   */
  prepare(
    rows: readonly DatasetRow[],
    text: ModelText,
    config: TrainConfig,
  ): { rows: TrainRow[]; notes: string[] }
}
