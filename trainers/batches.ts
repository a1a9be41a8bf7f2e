/**
 * Which rows a step sees, and in how many passes. Both are functions of the step number and the seed
 * alone, so that resuming needs nothing but the step.
 */
import { seededRandom, shuffled } from '../src/lib/random.ts'

export interface TokenRow {
  /** (length) token ids. */
  ids: Int32Array
  /** (length) how much predicting ids[t] from ids[<t] counts; [0] is 0. */
  targetWeights: Float32Array
}

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

/**
 * Lays rows of similar length together, longest first, so that no pass holds more than `maxTokens`
 * tokens with its padding. A row longer than that gets a pass of its own.
 */
export function passesOf(rows: readonly TokenRow[], maxTokens: number): TokenRow[][] {
  const byLength = rows
    .map((row, index) => ({ row, index }))
    .sort((a, b) => b.row.ids.length - a.row.ids.length || a.index - b.index)
  const passes: TokenRow[][] = []
  let pass: TokenRow[] = []
  let width = 0
  for (const { row } of byLength) {
    if (pass.length > 0 && (pass.length + 1) * width > maxTokens) {
      passes.push(pass)
      pass = []
    }
    if (pass.length === 0) width = row.ids.length
    pass.push(row)
  }
  if (pass.length > 0) passes.push(pass)
  return passes
}
