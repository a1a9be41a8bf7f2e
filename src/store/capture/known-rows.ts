/**
 * Rows of late by the hashes that name them, in memory of a fixed size. A map that forgets would do the same, but what it
 * forgets has grown old by then: such garbage is collected last, and a process that only takes in calls grows by it.
 */
import { hashBytes } from '../../lib/hash.ts'

const wordsOfHash = hashBytes / 4

/** Places that a hash may stand at. */
const ways = 2

export class KnownRows {
  private readonly sets: number
  private readonly columns: number
  private readonly hashes: Uint32Array
  /** `columns` numbers a place; the first is 0 where nothing stands. */
  private readonly values: Float64Array
  /** Which of a set's two places was asked for last; the other one is given to a new hash. */
  private readonly last: Uint8Array

  /**
   * @param columns numbers that are known of a row, its id first
   * @param places how many rows are known at most, a power of two
   */
  constructor(columns: number, places: number) {
    this.columns = columns
    this.sets = places / ways
    this.hashes = new Uint32Array(places * wordsOfHash)
    this.values = new Float64Array(places * columns)
    this.last = new Uint8Array(this.sets)
  }

  /** Where the row of this hash stands, for `value`, until the next `add`; null where it isn't known. */
  find(hash: Buffer): number | null {
    const set = this.setOf(hash)
    for (let way = 0; way < ways; way++) {
      if (!this.isAt(set * ways + way, hash)) continue
      this.last[set] = way
      return set * ways + way
    }
    return null
  }

  value(place: number, column: number): number {
    return this.values[place * this.columns + column] ?? 0
  }

  /** @param row an id, which is never 0, and what else is known, as many numbers as there are columns */
  add(hash: Buffer, ...row: readonly number[]): void {
    const set = this.setOf(hash)
    const other = 1 - (this.last[set] ?? 0)
    let place = this.find(hash)
    if (place === null) {
      place = set * ways + other
      this.last[set] = other
    }
    for (let word = 0; word < wordsOfHash; word++) {
      this.hashes[place * wordsOfHash + word] = hash.readUInt32LE(word * 4)
    }
    this.values.set(row, place * this.columns)
  }

  clear(): void {
    this.values.fill(0)
  }

  private setOf(hash: Buffer): number {
    return hash.readUInt32LE(0) & (this.sets - 1)
  }

  private isAt(place: number, hash: Buffer): boolean {
    if (this.value(place, 0) === 0) return false
    for (let word = 0; word < wordsOfHash; word++) {
      if (this.hashes[place * wordsOfHash + word] !== hash.readUInt32LE(word * 4)) return false
    }
    return true
  }
}
