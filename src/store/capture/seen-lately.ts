/**
 * Whether a hash was noted within a span of time, in memory of a fixed size: a Bloom filter, which never says no of
 * one that was, and seldom yes of one that wasn't. Two of them take turns, so that each holds one span.
 */

/** 2 MB for both, and four looks in a thousand in vain when each of them holds half a million. */
const bitsOfIndex = 23
const bytes = 2 ** bitsOfIndex / 8
/** How many bits stand for a hash. */
const bitsOfHash = 4

export class SeenLately {
  private readonly spanMs: number
  private now = new Uint8Array(bytes)
  private before = new Uint8Array(bytes)
  private since = Number.NEGATIVE_INFINITY

  constructor(spanMs: number) {
    this.spanMs = spanMs
  }

  /** @param hash whose bits are random; the first sixteen bytes count */
  note(hash: Buffer, at: number): void {
    if (at - this.since > this.spanMs) {
      const oldest = this.before
      this.before = this.now
      this.now = oldest.fill(0)
      this.since = at
    }
    for (let each = 0; each < bitsOfHash; each++) {
      const bit = bitAt(hash, each)
      const place = bit >>> 3
      this.now[place] = (this.now[place] ?? 0) | (1 << (bit & 7))
    }
  }

  has(hash: Buffer): boolean {
    return isIn(this.now, hash) || isIn(this.before, hash)
  }
}

function isIn(filter: Uint8Array, hash: Buffer): boolean {
  for (let each = 0; each < bitsOfHash; each++) {
    const bit = bitAt(hash, each)
    if (((filter[bit >>> 3] ?? 0) & (1 << (bit & 7))) === 0) return false
  }
  return true
}

function bitAt(hash: Buffer, each: number): number {
  return hash.readUInt32LE(each * 4) >>> (32 - bitsOfIndex)
}
