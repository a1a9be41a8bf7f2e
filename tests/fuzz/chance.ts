import { seededRandom } from '../../src/lib/random.ts'

/** Draws for a mutator; the same seed gives the same draws. */
export class Chance {
  readonly #random: () => number

  constructor(seed: number) {
    this.#random = seededRandom(seed)
  }

  /** A whole number in [0, end). */
  below(end: number): number {
    return Math.floor(this.#random() * end)
  }

  is(probability: number): boolean {
    return this.#random() < probability
  }

  /** @throws RangeError for an empty list */
  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)]
    if (item === undefined) throw new RangeError('nothing to pick from')
    return item
  }
}
