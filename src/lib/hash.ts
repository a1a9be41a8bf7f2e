/**
 * Keyed hashes under the store's secret, so that nobody who sees a hash can test a guess of what was hashed:
 * SHA-512/256 (FIPS 180-4) of the key followed by the message. Unlike plain SHA-2, whose state is its output,
 * it can't be extended, so the key in front makes a MAC, at half the price of HMAC's two passes. Each use has a
 * domain of its own, so that hashes of different things never meet.
 */
import { hash } from 'node:crypto'

export const hashBytes = 32

/** Messages up to this many bytes are laid out in memory that is reused. */
const scratchBytes = 64 * 1024

export class KeyedHash {
  private readonly key: Uint8Array
  private readonly scratch = Buffer.allocUnsafe(scratchBytes)

  /** @param secret at least 32 bytes */
  constructor(secret: Uint8Array) {
    this.key = secret
    this.scratch.set(secret)
  }

  /**
   * 32 bytes. All but the last piece must have a fixed length in their domain, or else the pieces could be
   * cut in two ways.
   */
  of(domain: string, ...pieces: (Uint8Array | string)[]): Buffer {
    const { scratch } = this
    let at = this.key.length
    at += scratch.write(domain, at, 'latin1')
    scratch[at++] = 0
    for (const piece of pieces) {
      // Three bytes are the most that UTF-8 needs for one unit of a string.
      const most = typeof piece === 'string' ? piece.length * 3 : piece.length
      if (at + most > scratch.length) return this.ofLong(domain, pieces)
      if (typeof piece === 'string') at += scratch.write(piece, at, 'utf8')
      else {
        scratch.set(piece, at)
        at += piece.length
      }
    }
    return digest(scratch.subarray(0, at))
  }

  private ofLong(domain: string, pieces: readonly (Uint8Array | string)[]): Buffer {
    const parts = pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece) : piece))
    return digest(Buffer.concat([this.key, Buffer.from(`${domain}\0`, 'latin1'), ...parts]))
  }
}

/** By way of a string, which costs half of what a buffer with memory of its own does. */
function digest(message: Uint8Array): Buffer {
  return Buffer.from(hash('sha512-256', message, 'binary'), 'latin1')
}
