/** The thread that brings the journal into the tables, and checkpoints them, away from the event loop that serves agents. */
import { parentPort, workerData } from 'node:worker_threads'
import { z } from 'zod'
import { dialects } from '../../dialects/index.ts'
import { messageOf } from '../../lib/error.ts'
import { yieldToOtherThreads } from '../../lib/thread-priority.ts'
import { openDatabase } from '../database.ts'
import { openStoreSecret } from '../secret.ts'
import { CallPlacer } from './call-placer.ts'
import { CallTables } from './call-tables.ts'
import { Deletion } from './deletion.ts'
import { capturePath, journalFolder } from './home.ts'
import { Ingest, type Ingested } from './ingest.ts'
import {
  type DeletionOrder,
  type DeletionStep,
  type IngestOrder,
  type IngestReport,
  ingestOrder,
  nothingIngested,
} from './ingest-order.ts'
import { captureMigrations } from './migrations.ts'
import { deleteRejected } from './rejected.ts'
import type { CaptureSchema } from './schema.ts'
import { prepareStatements } from './statements.ts'

/** Milliseconds to wait for readers when the log is emptied. */
const readersTimeoutMs = 500

// Agents wait for the event loop that serves them, nobody for this thread.
yieldToOtherThreads()

const { home, synchronous } = z
  .object({ home: z.string(), synchronous: z.enum(['normal', 'full']) })
  .parse(workerData)

const { sqlite, close } = await openDatabase<CaptureSchema>(capturePath(home), captureMigrations, {
  synchronous,
})
const hash = openStoreSecret(home)
const folder = journalFolder(home)
const statements = prepareStatements(sqlite)
const tables = new CallTables(statements, hash)
const ingest = new Ingest(sqlite, tables, new CallPlacer(sqlite, statements, hash, dialects), folder)
const deletion = new Deletion(sqlite, hash)

// Hashes fall anywhere in their index: pages that don't fit are read again for every call.
sqlite.pragma('cache_size = -16384')

// Checkpoints are ordered, at moments when no reader of this process stands in their way.
sqlite.pragma('wal_autocheckpoint = 0')
sqlite.pragma('temp_store = MEMORY')

function follow(order: IngestOrder): IngestReport {
  switch (order.kind) {
    case 'ingest':
      return reportOf(ingest.step())
    case 'stop':
      return reportOf(ingest.finish())
    case 'checkpoint':
      sqlite.pragma('wal_checkpoint(PASSIVE)')
      return reportOf(ingest.step())
    case 'choose':
    case 'expire':
    case 'prepare':
    case 'delete':
    case 'shrink':
    case 'scrub':
      return { ...nothingIngested, step: stepOf(order) }
  }
}

function stepOf(order: DeletionOrder): DeletionStep {
  switch (order.kind) {
    case 'choose':
      return { plan: deletion.choose(order.selection) }
    case 'expire':
      return { plan: deletion.chooseExpired(order.rules, order.limit) }
    case 'prepare':
      return { hasMore: deletion.prepareStep() }
    case 'delete':
      ingest.forget()
      return { deleted: deletion.deleteStep(order.calls) }
    case 'shrink':
      return { hasMore: deletion.shrinkStep() }
    case 'scrub': {
      // Calls that came between the steps were placed beside those that are gone.
      ingest.forget()
      if (!order.keepIndexes) deletion.dropIndexes()
      const unreadable = order.selection === null ? [] : deleteRejected(folder, order.selection)
      sqlite.pragma(`busy_timeout = ${readersTimeoutMs}`)
      const isScrubbed = deletion.emptyLog()
      sqlite.pragma('busy_timeout = 10000')
      return { unreadable, isScrubbed }
    }
  }
}

function reportOf({ rejected, ...ingested }: Ingested): IngestReport {
  const reasons = rejected.map(({ id, reason }) => ({ id, reason: messageOf(reason) }))
  return { ...nothingIngested, ...ingested, rejected: reasons }
}

parentPort?.on('message', (message) => {
  const order = ingestOrder.parse(message)
  try {
    parentPort?.postMessage(follow(order))
  } catch (error) {
    parentPort?.postMessage({ ...nothingIngested, error: messageOf(error) })
  }
  if (order.kind === 'stop') void close().then(() => parentPort?.close())
})
