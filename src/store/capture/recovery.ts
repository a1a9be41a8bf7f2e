/** Brings in what a process that died had committed to the journal and not yet to the tables. */
import { existsSync } from 'node:fs'
import type { Dialect } from '../../dialects/index.ts'
import { isBehind, openDatabase } from '../database.ts'
import { openStoreSecret } from '../secret.ts'
import { CallPlacer } from './call-placer.ts'
import { CallTables } from './call-tables.ts'
import { capturePath, journalFolder, lockHomeIfFree } from './home.ts'
import { Ingest } from './ingest.ts'
import { segmentsOf } from './journal.ts'
import { captureMigrations } from './migrations.ts'
import type { CaptureSchema } from './schema.ts'
import { prepareStatements } from './statements.ts'

/** Does nothing where a writer runs, which does it itself. A store of an older version is migrated. */
export async function recoverJournal(home: string, dialects: readonly Dialect[]): Promise<void> {
  const folder = journalFolder(home)
  const hasLeftovers = existsSync(folder) && segmentsOf(folder).length > 0
  const path = capturePath(home)
  if (!hasLeftovers && (!existsSync(path) || !isBehind(path, captureMigrations))) return
  const lock = lockHomeIfFree(home)
  if (lock === null) return
  try {
    const { sqlite, close } = await openDatabase<CaptureSchema>(path, captureMigrations)
    try {
      if (!hasLeftovers) return
      const hash = openStoreSecret(home)
      const statements = prepareStatements(sqlite)
      const placer = new CallPlacer(sqlite, statements, hash, dialects)
      new Ingest(sqlite, new CallTables(statements, hash), placer, folder).finish()
    } finally {
      await close()
    }
  } finally {
    lock.release()
  }
}
