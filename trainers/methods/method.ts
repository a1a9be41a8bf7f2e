import type { TrainingRow } from '../../src/contract/dataset.ts'
import type { TrainConfig } from '../../src/contract/train-config.ts'
import type { ModelText, TrainRow } from '../../src/engine/index.ts'

/**
 * What a batch counts as one row: a conversation, beside it the turns that its template renders otherwise later, or
 * several rows that were packed. None of them sees another, but for what they share as a tree.
 */
export type Example = readonly TrainRow[]

/** A row of the dataset, with its line there, counted from 1: so a person finds it again. */
export interface NumberedRow {
  readonly line: number
  readonly row: TrainingRow
}

export interface PreparedRows {
  /** In the dataset's order. */
  examples: Example[]
  /** A sentence for each thing that a person should know about what was left out. */
  notes: string[]
}

/** How a method sees the dataset. */
export interface Method {
  readonly name: string
  /** The peak learning rate where the config sets none, by adapter. */
  readonly learningRate: Readonly<Record<TrainConfig['adapter'], number>>
  /** Whether rows are packed where the config doesn't say. */
  readonly packing: boolean
  /**
   * Token rows for the loss.
   * @param maxLength tokens of a row at most: max_length, or the model's context where that is shorter
   * @throws ShadowError invalid_request naming the row that the method can't learn from
   */
  prepare(rows: readonly NumberedRow[], text: ModelText, config: TrainConfig, maxLength: number): PreparedRows
}
