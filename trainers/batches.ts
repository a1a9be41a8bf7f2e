/**
 * Which rows a step sees: a function of the step number and the seed alone, so that resuming needs nothing but the step.
 */
import { seededRandom, shuffled } from '../src/lib/random.ts'

/**
 * Epochs are laid out one after another and read through in batches that may cross their border. In an epoch groups
 * come in random order; one that the batch under way has no room for lets the next that fits go first, and is divided
 * only where none does.
 */
export class BatchOrder {
  readonly #groups: readonly (readonly number[])[]
  readonly #rows: number
  readonly #batchSize: number
  readonly #seed: number
  #epoch = -1
  #order: number[] = []

  /** @param groups row indices, each row in one group; see `siblingGroups` */
  constructor(groups: readonly (readonly number[])[], batchSize: number, seed: number) {
    this.#groups = groups
    this.#rows = groups.reduce((sum, group) => sum + group.length, 0)
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
      this.#order = this.#layOut(epoch)
      this.#epoch = epoch
    }
    return this.#order[position % this.#rows] ?? 0
  }

  #layOut(epoch: number): number[] {
    const random = seededRandom(this.#seed + Math.imul(epoch, 0x9e3779b1))
    const waiting = new WaitingGroups(shuffled([...this.#groups], random))
    const order: number[] = []
    let room = this.#batchSize - ((epoch * this.#rows) % this.#batchSize)
    for (;;) {
      const group = waiting.take(room) ?? waiting.take(Number.POSITIVE_INFINITY)
      if (group === undefined) return order
      for (const row of group) order.push(row)
      room = this.#batchSize - ((epoch * this.#rows + order.length) % this.#batchSize)
    }
  }
}

/** Groups in a given order, taken by how many rows there is room for. */
class WaitingGroups {
  /** By size; each queue holds places in the order, ascending. */
  readonly #queues = new Map<number, { places: number[]; head: number }>()
  readonly #groups: readonly (readonly number[])[]

  constructor(groups: readonly (readonly number[])[]) {
    this.#groups = groups
    groups.forEach(({ length }, place) => {
      const queue = this.#queues.get(length)
      if (queue === undefined) this.#queues.set(length, { places: [place], head: 0 })
      else queue.places.push(place)
    })
  }

  /** The first that has at most `room` rows. */
  take(room: number): readonly number[] | undefined {
    let first = Number.POSITIVE_INFINITY
    let from: { places: number[]; head: number } | undefined
    for (const [size, queue] of this.#queues) {
      const place = queue.places[queue.head] ?? Number.POSITIVE_INFINITY
      if (size <= room && place < first) {
        first = place
        from = queue
      }
    }
    if (from === undefined) return undefined
    from.head++
    return this.#groups[first]
  }
}
