/** Where captured traffic lies in a home, and the lock that its one writer holds. */
import { join } from 'node:path'
import { ShadowError } from '../../lib/error.ts'
import { type ProcessLock, takeLock } from '../process-lock.ts'

export function capturePath(home: string): string {
  return join(home, 'capture.db')
}

export function journalFolder(home: string): string {
  return join(home, 'capture.journal')
}

/** The writer's lock; null when another process holds it. @throws ShadowError store_failed */
export function lockHomeIfFree(home: string): ProcessLock | null {
  return takeLock(join(home, 'capture.lock'))
}

/** The writer's lock. @throws ShadowError busy when another process holds it; store_failed */
export function lockHome(home: string): ProcessLock {
  const lock = lockHomeIfFree(home)
  if (lock !== null) return lock
  throw new ShadowError('busy', `Another process is capturing into ${home}.`, {
    hint: 'Stop the other `shadow serve`, or give this one a SHADOW_HOME of its own.',
  })
}
