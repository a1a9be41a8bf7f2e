/** Repeatable randomness for orders and draws; not for secrets. */

/**
 * A generator of doubles in [0, 1) from a 32-bit seed: mulberry32 (T. Ettinger, public domain), which
 * passes gjrand's tests and is the same on every machine.
 */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

/** A shuffled copy (Fisher–Yates). */
export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const copy = [...items]
  for (let last = copy.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    const moved = copy[last]
    const taken = copy[other]
    if (moved === undefined || taken === undefined) continue
    copy[last] = taken
    copy[other] = moved
  }
  return copy
}
