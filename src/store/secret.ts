/** The secret under which a home's hashes are made. Without it they can neither be guessed nor compared. */
import { randomBytes } from 'node:crypto'
import { chmodSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf, ShadowError } from '../lib/error.ts'
import { hashBytes, KeyedHash } from '../lib/hash.ts'

/**
 * The keyed hash of `<home>/store.secret`, which is created (0600) at the first use.
 * @throws ShadowError store_failed when the file can't be read or written, or is damaged
 */
export function openStoreSecret(home: string): KeyedHash {
  const path = join(home, 'store.secret')
  try {
    return new KeyedHash(readOrCreate(home, path))
  } catch (cause) {
    if (cause instanceof ShadowError) throw cause
    throw new ShadowError('store_failed', `Can't open the store's secret ${path}: ${messageOf(cause)}.`, {
      hint: 'Check that the folder is writable by the user who runs Shadow.',
      cause,
    })
  }
}

function readOrCreate(home: string, path: string): Buffer {
  const found = read(path)
  if (found !== null) return found
  mkdirSync(home, { recursive: true, mode: 0o700 })
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`
  writeFileSync(temporary, randomBytes(hashBytes), { mode: 0o600 })
  try {
    // Unlike a rename, a link never replaces the secret that another process has made meanwhile.
    linkSync(temporary, path)
  } catch (cause) {
    if (read(path) === null) throw cause
  } finally {
    rmSync(temporary)
  }
  return readFileSync(path)
}

function read(path: string): Buffer | null {
  let secret: Buffer
  try {
    secret = readFileSync(path)
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return null
    throw cause
  }
  if (secret.length !== hashBytes) {
    throw new ShadowError(
      'store_failed',
      `The store's secret ${path} has ${secret.length} bytes, not ${hashBytes}.`,
      {
        hint: 'Restore the file from a backup; without it the captured calls can no longer be recognised.',
      },
    )
  }
  chmodSync(path, 0o600)
  return secret
}
