/** A lock between processes that the operating system lifts when its holder dies, however it dies. */
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import SqliteDatabase from 'better-sqlite3'
import { messageOf, ShadowError } from '../lib/error.ts'

export interface ProcessLock extends Disposable {
  release(): void
}

/**
 * Takes the lock; null when another process holds it. A process number would tell less: it is given out again.
 * @throws ShadowError store_failed when the file can't be opened or locked
 */
export function takeLock(path: string): ProcessLock | null {
  let lock: SqliteDatabase.Database
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    closeSync(openSync(path, 'a', 0o600))
    lock = new SqliteDatabase(path, { timeout: 0 })
  } catch (cause) {
    throw new ShadowError('store_failed', `Can't open ${path}: ${messageOf(cause)}.`, {
      hint: 'Check that the folder is writable by the user who runs Shadow.',
      cause,
    })
  }
  try {
    lock.exec('BEGIN EXCLUSIVE')
  } catch (cause) {
    lock.close()
    if (cause instanceof SqliteDatabase.SqliteError && cause.code.startsWith('SQLITE_BUSY')) return null
    throw new ShadowError('store_failed', `Can't lock ${path}: ${messageOf(cause)}.`, {
      hint: "Check the disk's free space, and that the folder is writable by the user who runs Shadow.",
      cause,
    })
  }
  const release = (): void => {
    lock.close()
  }
  return { release, [Symbol.dispose]: release }
}
