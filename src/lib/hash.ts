/**
 * Keyed hashes: HMAC-SHA-256 under the store's secret, so that nobody who sees a hash can test a guess of
 * what was hashed. Each use has a domain of its own, so that hashes of different things never meet.
 */
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto'

export const hashBytes = 32

export class KeyedHash {
  private readonly key: KeyObject

  /** @param secret at least 32 bytes */
  constructor(secret: Uint8Array) {
    this.key = createSecretKey(secret)
  }

  /**
   * 32 bytes. All but the last piece must have a fixed length in their domain, or else the pieces could be
   * cut in two ways.
   */
  of(domain: string, ...pieces: (Uint8Array | string)[]): Buffer {
    const hmac = createHmac('sha256', this.key).update(`${domain}\0`)
    for (const piece of pieces) hmac.update(piece)
    return hmac.digest()
  }
}
