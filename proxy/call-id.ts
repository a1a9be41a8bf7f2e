/** ULIDs for calls: they sort by time, and within a process no two of one millisecond are out of order. */
import { randomFillSync } from 'node:crypto'
import { monotonicFactory } from 'ulid'

export function callIds(): () => string {
  // Drawn in bulk: one call of the system's source for each of a ULID's 16 letters costs more than the hashes.
  const pool = new Uint32Array(1024)
  let next = pool.length
  const made = monotonicFactory(() => {
    if (next === pool.length) {
      randomFillSync(pool)
      next = 0
    }
    return (pool[next++] ?? 0) / 2 ** 32
  })
  // A machine whose clock was never set may be before 1970, which a ULID can't say.
  return () => made(Math.max(1, Date.now()))
}
