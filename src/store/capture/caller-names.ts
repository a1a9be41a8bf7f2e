/** Names for what agents prove themselves with and call their sessions: keyed hashes of what itself is never written. */
import { hashBytes, type KeyedHash } from '../../lib/hash.ts'
import { Lately } from '../../lib/lately.ts'

const noKey = Buffer.alloc(0)

/** Credentials whose hashes are remembered. */
const keysAtMost = 1000

export class CallerNames {
  private readonly hash: KeyedHash
  private readonly keyHashes = new Lately<Buffer>(keysAtMost)

  constructor(hash: KeyedHash) {
    this.hash = hash
  }

  /** 32 bytes; empty where there is no credential. */
  keyHash(credential: string | null): Buffer {
    if (credential === null) return noKey
    const known = this.keyHashes.get(credential)
    if (known !== undefined) return known
    const hash = this.hash.of('credential', credential)
    this.keyHashes.set(credential, hash)
    return hash
  }

  /** The session that a name stands for under a key and a task, so that calls that arrive together agree on it. */
  sessionNamed(task: string, keyHash: Buffer, name: string): string {
    const key = keyHash.length === 0 ? Buffer.alloc(hashBytes) : keyHash
    return this.hash.of('session', key, `${task}\0${name}`).toString('hex').slice(0, 32)
  }
}
