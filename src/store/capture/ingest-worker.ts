/** The thread that brings the journal into the tables, and checkpoints them, away from the event loop that serves agents. */
import { parentPort, workerData } from 'node:worker_threads'
import { z } from 'zod'
import { messageOf } from '../../lib/error.ts'
import { openDatabase } from '../database.ts'
import { openStoreSecret } from '../secret.ts'
import { capturePath, journalFolder } from './home.ts'
import { CallTables } from './call-tables.ts'
import { Ingest } from './ingest.ts'
import { captureMigrations } from './migrations.ts'
import type { CaptureSchema } from './schema.ts'
import { ingestOrder } from './ingest-order.ts'
import { prepareStatements } from './statements.ts'

const { home, synchronous } = z
  .object({ home: z.string(), synchronous: z.enum(['normal', 'full']) })
  .parse(workerData)

const { sqlite, close } = await openDatabase<CaptureSchema>(capturePath(home), captureMigrations, {
  synchronous,
})
const ingest = new Ingest(
  sqlite,
  new CallTables(prepareStatements(sqlite), openStoreSecret(home)),
  journalFolder(home),
)

// Checkpoints are ordered, at moments when no reader of this process stands in their way.
sqlite.pragma('wal_autocheckpoint = 0')

parentPort?.on('message', (message) => {
  const order = ingestOrder.parse(message)
  try {
    if (order === 'checkpoint') sqlite.pragma('wal_checkpoint(PASSIVE)')
    const { rejected, ...ingested } = order === 'stop' ? ingest.finish() : ingest.run()
    const reasons = rejected.map(({ id, reason }) => ({ id, reason: messageOf(reason) }))
    parentPort?.postMessage({ ...ingested, rejected: reasons, error: null })
  } catch (error) {
    parentPort?.postMessage({ lastId: null, calls: 0, bytes: 0, rejected: [], error: messageOf(error) })
  }
  if (order === 'stop') void close().then(() => parentPort?.close())
})
