/** Where captured traffic lies in a home, and the lock that its one writer holds. */
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import SqliteDatabase from 'better-sqlite3'
import { messageOf, ShadowError } from '../../lib/error.ts'

export function capturePath(home: string): string {
  return join(home, 'capture.db')
}

export function journalFolder(home: string): string {
  return join(home, 'capture.journal')
}

export interface HomeLock {
  release(): void
}

/**
 * Takes the writer's lock, which the operating system lifts when the process dies, however it dies.
 * @throws ShadowError busy when another process holds it; store_failed
 */
export function lockHome(home: string): HomeLock {
  const path = join(home, 'capture.lock')
  let lock: SqliteDatabase.Database
  try {
    mkdirSync(home, { recursive: true, mode: 0o700 })
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
    throw new ShadowError('busy', `Another process is capturing into ${home}.`, {
      hint: 'Stop the other `shadow serve`, or give this one a SHADOW_HOME of its own.',
      cause,
    })
  }
  return { release: () => lock.close() }
}
