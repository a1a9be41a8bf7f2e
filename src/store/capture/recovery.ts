/** Brings in what a process that died had committed to the journal and not yet to the tables. */
import { existsSync } from 'node:fs'
import { ShadowError } from '../../lib/error.ts'
import { openDatabase } from '../database.ts'
import { openStoreSecret } from '../secret.ts'
import { CallTables } from './call-tables.ts'
import { capturePath, type HomeLock, journalFolder, lockHome } from './home.ts'
import { Ingest } from './ingest.ts'
import { segmentsOf } from './journal.ts'
import { type CaptureSchema, captureMigrations } from './schema.ts'
import { prepareStatements } from './statements.ts'

/** Does nothing where a writer runs, which does it itself. */
export async function recoverJournal(home: string): Promise<void> {
  const folder = journalFolder(home)
  if (!existsSync(folder) || segmentsOf(folder).length === 0) return
  const lock = lockIfFree(home)
  if (lock === null) return
  try {
    const { sqlite, close } = await openDatabase<CaptureSchema>(capturePath(home), captureMigrations)
    try {
      new Ingest(sqlite, new CallTables(prepareStatements(sqlite), openStoreSecret(home)), folder).finish()
    } finally {
      await close()
    }
  } finally {
    lock.release()
  }
}

function lockIfFree(home: string): HomeLock | null {
  try {
    return lockHome(home)
  } catch (error) {
    if (error instanceof ShadowError && error.code === 'busy') return null
    throw error
  }
}
