/**
 * Group commit: calls that end in the same turn of the event loop share one transaction, and each caller is
 * told when its own call is on record. With one client a call is committed in the turn in which it ended.
 */
import type SqliteDatabase from 'better-sqlite3'
import { messageOf, ShadowError } from '../../lib/error.ts'
import type { CallTables } from './call-tables.ts'
import type { CallRecord } from './record.ts'

/** Milliseconds of inserting after which a transaction is committed, so that the event loop gets its turn. */
const longestTurnMs = 5

interface Waiting {
  readonly call: CallRecord
  resolve(): void
  reject(reason: ShadowError): void
}

export class CaptureWriter {
  private readonly sqlite: SqliteDatabase.Database
  private readonly tables: CallTables
  private readonly onCommitted: () => void
  private queue: Waiting[] = []
  private scheduled = false

  constructor(sqlite: SqliteDatabase.Database, tables: CallTables, onCommitted: () => void) {
    this.sqlite = sqlite
    this.tables = tables
    this.onCommitted = onCommitted
  }

  /**
   * Resolves once the call is committed.
   * @throws ShadowError store_failed when this call could not be written; others are not affected
   */
  record(call: CallRecord): Promise<void> {
    return new Promise((resolve, reject) => {
      this.queue.push({ call, resolve, reject })
      this.schedule()
    })
  }

  /** Writes whatever is queued before it returns. */
  flush(): void {
    while (this.queue.length > 0) this.commitSome()
  }

  private schedule(): void {
    if (this.scheduled) return
    this.scheduled = true
    setImmediate(() => {
      this.scheduled = false
      this.commitSome()
      if (this.queue.length > 0) this.schedule()
    })
  }

  private commitSome(): void {
    if (this.queue.length === 0) return
    const written: Waiting[] = []
    const failed: { waiting: Waiting; cause: unknown }[] = []
    const deadline = performance.now() + longestTurnMs
    let taken = 0
    try {
      this.sqlite.exec('BEGIN IMMEDIATE')
      do {
        const waiting = this.queue[taken++]
        if (waiting === undefined) break
        const cause = this.insert(waiting.call)
        if (cause === null) written.push(waiting)
        else failed.push({ waiting, cause })
      } while (taken < this.queue.length && performance.now() < deadline)
      this.sqlite.exec('COMMIT')
    } catch (cause) {
      if (this.sqlite.inTransaction) this.sqlite.exec('ROLLBACK')
      for (const waiting of this.queue.slice(0, Math.max(taken, 1))) failed.push({ waiting, cause })
      written.length = 0
    }
    this.queue = this.queue.slice(Math.max(taken, 1))
    if (written.length > 0) this.onCommitted()
    for (const waiting of written) waiting.resolve()
    for (const { waiting, cause } of failed) waiting.reject(notWritten(cause))
  }

  /** What went wrong, or null. A call that fails leaves nothing behind in the transaction it shares. */
  private insert(call: CallRecord): unknown {
    this.sqlite.exec('SAVEPOINT call')
    try {
      this.tables.insert(call)
      this.sqlite.exec('RELEASE call')
      return null
    } catch (cause) {
      // Some failures, a full disk among them, end the whole transaction.
      if (!this.sqlite.inTransaction) throw cause
      this.sqlite.exec('ROLLBACK TO call; RELEASE call')
      return cause
    }
  }
}

function notWritten(cause: unknown): ShadowError {
  return new ShadowError('store_failed', `A call could not be recorded: ${messageOf(cause)}.`, {
    hint: 'Check the disk that holds the Shadow home; agents are still being served.',
    cause,
  })
}
