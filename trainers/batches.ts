/**
 * Which rows a step sees, and in how many passes. Both are functions of the step number and the seed
 * alone, so that resuming needs nothing but the step.
 */
import type { TrainRow } from '../src/engine/index.ts'
import { seededRandom, shuffled } from '../src/lib/random.ts'

/** Epochs are shuffled one after another and read through in batches that may cross their border. */
export class BatchOrder {
  readonly #rows: number
  readonly #batchSize: number
  readonly #seed: number
  #epoch = -1
  #order: number[] = []

  constructor(rows: number, batchSize: number, seed: number) {
    this.#rows = rows
    this.#batchSize = batchSize
    this.#seed = seed
  }

  /** Indices of the rows of optimizer step `step`, counted from 0. */
  rowsOf(step: number): number[] {
    const first = step * this.#batchSize
    return Array.from({ length: this.#batchSize }, (_, offset) => this.#rowAt(first + offset))
  }

  #rowAt(position: number): number {
    const epoch = Math.floor(position / this.#rows)
    if (epoch !== this.#epoch) {
      const indices = Array.from({ length: this.#rows }, (_, index) => index)
      this.#order = shuffled(indices, seededRandom(this.#seed + Math.imul(epoch, 0x9e3779b1)))
      this.#epoch = epoch
    }
    return this.#order[position % this.#rows] ?? 0
  }
}

/** Splits a step's rows, in their order, so that no pass holds more than `maxTokens` tokens. A longer row gets a pass of its own. */
export function passesOf(rows: readonly TrainRow[], maxTokens: number): TrainRow[][] {
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
