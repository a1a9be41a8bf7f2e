/** Everything in this world is drawn by seed, so that a run can be repeated and argued about. */
import { createHash } from 'node:crypto'

/** Uniform in [0, 1). */
export type Random = () => number

/** mulberry32: 32 bits of state, period 2^32; ample for a few thousand draws, and four lines long. */
export function mulberry32(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** The first 32 bits of SHA-256 over the parts, kept apart by a zero byte. */
export function hash32(...parts: readonly (string | number)[]): number {
  return createHash('sha256').update(parts.join('\0')).digest().readUInt32BE(0)
}

/** Uniform in [0, 1), and the same for the same parts. */
export function hashUnit(...parts: readonly (string | number)[]): number {
  return hash32(...parts) / 2 ** 32
}

/** An integer in [low, high]. */
export function between(random: Random, low: number, high: number): number {
  return low + Math.floor(random() * (high - low + 1))
}

/** @throws RangeError when there is nothing to pick from */
export function pick<T>(random: Random, items: readonly T[]): T {
  const item = items[Math.floor(random() * items.length)]
  if (item === undefined) throw new RangeError('nothing to pick from')
  return item
}

/** A shuffled copy (Fisher–Yates). */
export function shuffled<T>(random: Random, items: readonly T[]): T[] {
  const copy = [...items]
  for (let last = copy.length - 1; last > 0; last--) {
    const other = between(random, 0, last)
    const kept = copy[last]
    const moved = copy[other]
    if (kept === undefined || moved === undefined) continue
    copy[last] = moved
    copy[other] = kept
  }
  return copy
}

/** Deals every item once before any comes again, in a new order each time round. */
export class Deck<T> {
  readonly #random: Random
  readonly #items: readonly T[]
  #left: T[] = []

  constructor(random: Random, items: readonly T[]) {
    this.#random = random
    this.#items = items
  }

  next(): T {
    if (this.#left.length === 0) this.#left = shuffled(this.#random, this.#items)
    const item = this.#left.pop()
    if (item === undefined) throw new RangeError('an empty deck')
    return item
  }
}
