/** Brings the journal into the tables, in the order in which calls were committed. */
import {
  appendFileSync,
  closeSync,
  fstatSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import type SqliteDatabase from 'better-sqlite3'
import type { CallPlacer } from './call-placer.ts'
import type { CallTables } from './call-tables.ts'
import { frameOf, recordAt, segmentPath, segmentsOf } from './journal.ts'
import { anyEntry } from './placed-call.ts'

/** Calls of one transaction: enough to share its pages, few enough to be forgotten by the event loop within a millisecond. */
const callsPerTransaction = 1000

/** Bytes read from a segment at once, into memory that is reused; a longer record is read whole, into its own. */
const readBytes = 4 * 1024 * 1024

export interface Ingested {
  /** The last call that the tables now hold. */
  lastId: string | null
  calls: number
  bytes: number
  /** Records that no table could take, with the reason. */
  rejected: { id: string | null; reason: unknown }[]
  /** Whether the journal may hold more. */
  hasMore: boolean
}

export class Ingest {
  private readonly sqlite: SqliteDatabase.Database
  private readonly tables: CallTables
  private readonly placer: CallPlacer
  private readonly folder: string
  private segment: number | null = null
  private at = 0
  private readonly window = Buffer.allocUnsafeSlow(readBytes)

  constructor(sqlite: SqliteDatabase.Database, tables: CallTables, placer: CallPlacer, folder: string) {
    this.sqlite = sqlite
    this.tables = tables
    this.placer = placer
    this.folder = folder
  }

  /**
   * Takes in what one transaction holds, and deletes the segments that are done with. Few enough calls at once that
   * whoever is told of them is not held up by it, however many wait.
   * @throws when the database can't be written; what it has not taken stays in the journal
   */
  step(): Ingested {
    const ingested: Ingested = { lastId: null, calls: 0, bytes: 0, rejected: [], hasMore: false }
    for (;;) {
      const segments = segmentsOf(this.folder)
      const segment = segments.find((number) => this.segment === null || number >= this.segment)
      if (segment === undefined) return ingested
      if (segment !== this.segment) {
        this.segment = segment
        this.at = 0
      }
      // Looked up before reading: what is appended to a segment that has a successor came before it.
      const isFinal = segments.at(-1) === segment
      if (this.readSome(segment, ingested)) {
        ingested.hasMore ||= !isFinal
        return ingested
      }
      if (isFinal) return ingested
      this.remove(segment, ingested)
      this.segment = segment + 1
      this.at = 0
    }
  }

  /** What a crash tore was never acknowledged; it is kept all the same, since disks tear other things too. */
  private remove(segment: number, ingested: Ingested): void {
    const path = segmentPath(this.folder, segment)
    const left = statSync(path).size - this.at
    if (left === 0) rmSync(path)
    else {
      renameSync(path, `${path}.damaged`)
      ingested.rejected.push({
        id: null,
        reason: new Error(`${left} bytes of ${path}.damaged can't be read`),
      })
    }
  }

  /** Everything, when nothing more will be appended: the last segment goes too. */
  finish(): Ingested {
    const all = this.step()
    while (all.hasMore) {
      const { lastId, calls, bytes, rejected, hasMore } = this.step()
      all.lastId = lastId ?? all.lastId
      all.calls += calls
      all.bytes += bytes
      all.rejected.push(...rejected)
      all.hasMore = hasMore
    }
    if (this.segment !== null && segmentsOf(this.folder).includes(this.segment))
      this.remove(this.segment, all)
    this.segment = null
    return all
  }

  private readSome(segment: number, ingested: Ingested): boolean {
    const { bytes, left } = this.read(segment)
    if (recordAt(bytes, 0) === null) return false
    const { calls, end } = this.commit(bytes, ingested)
    this.at += end
    ingested.calls += calls
    ingested.bytes += end
    // What comes while this is looked at is for the next time.
    ingested.hasMore = left > end
    return true
  }

  /** The next bytes, and how many there are in all. */
  private read(segment: number): { bytes: Buffer; left: number } {
    const file = openSync(segmentPath(this.folder, segment), 'r')
    try {
      const left = fstatSync(file).size - this.at
      let bytes = readAt(file, this.at, this.window)
      const first = bytes.length >= 4 ? 8 + bytes.readUInt32LE(0) : 0
      if (first > bytes.length && first <= left) bytes = readAt(file, this.at, Buffer.allocUnsafe(first))
      return { bytes, left }
    } finally {
      closeSync(file)
    }
  }

  /**
   * All of them in one transaction. Where one fails it is begun again with a savepoint around each, which costs
   * as much as the call itself.
   */
  private commit(bytes: Buffer, ingested: Ingested): { calls: number; end: number } {
    try {
      const done = { calls: 0, end: 0 }
      this.transaction(() => {
        for (const { payload, next } of recordsIn(bytes)) {
          this.insert(payload, ingested)
          done.calls++
          done.end = next
        }
      })
      return done
    } catch (reason) {
      if (isFaultOfDisk(reason)) throw reason
    }
    const done = { calls: 0, end: 0 }
    const rejected: Buffer[] = []
    this.transaction(() => {
      for (const { payload, next } of recordsIn(bytes)) {
        if (!this.insertAlone(payload, ingested)) rejected.push(payload)
        done.calls++
        done.end = next
      }
    })
    for (const payload of rejected) {
      appendFileSync(join(this.folder, 'rejected.log'), Buffer.concat(frameOf([payload])), { mode: 0o600 })
    }
    return done
  }

  private transaction(work: () => void): void {
    this.sqlite.exec('BEGIN IMMEDIATE')
    try {
      work()
      this.sqlite.exec('COMMIT')
    } catch (error) {
      this.forget()
      if (this.sqlite.inTransaction) this.sqlite.exec('ROLLBACK')
      throw error
    }
  }

  /** Rows were deleted, or what made them was undone. */
  forget(): void {
    this.tables.forget()
    this.placer.forget()
  }

  /** A call that is there already, since its journal was brought in before, changes nothing. */
  private insert(payload: Buffer, ingested: Ingested): void {
    const entry = anyEntry(payload)
    if (!this.tables.has(entry.id)) {
      const call = 'version' in entry ? this.placer.place(entry) : this.placer.placed(entry)
      this.tables.insert(call)
    }
    ingested.lastId = entry.id
  }

  /** A call that fails leaves nothing behind in the transaction that it shares. */
  private insertAlone(payload: Buffer, ingested: Ingested): boolean {
    this.sqlite.exec('SAVEPOINT call')
    try {
      this.insert(payload, ingested)
      this.sqlite.exec('RELEASE call')
      return true
    } catch (reason) {
      this.forget()
      // Some failures, a full disk among them, are no fault of the call.
      if (!this.sqlite.inTransaction || isFaultOfDisk(reason)) throw reason
      this.sqlite.exec('ROLLBACK TO call; RELEASE call')
      ingested.rejected.push({ id: idOf(payload), reason })
      return false
    }
  }
}

/** The records of one transaction, one after the other, so that none of them outlives its insertion. */
function* recordsIn(bytes: Buffer): Generator<{ payload: Buffer; next: number }> {
  let at = 0
  for (let count = 0; count < callsPerTransaction; count++) {
    const record = recordAt(bytes, at)
    if (record === null) return
    yield record
    at = record.next
  }
}

function idOf(payload: Buffer): string | null {
  try {
    return anyEntry(payload).id
  } catch {
    return null
  }
}

function isFaultOfDisk(reason: unknown): boolean {
  if (!(reason instanceof Error) || !('code' in reason)) return false
  return /^SQLITE_(FULL|IOERR|READONLY|BUSY|CORRUPT|NOTADB|CANTOPEN)/.test(String(reason.code))
}

/** As much as there is and `into` has room for. */
function readAt(file: number, position: number, into: Buffer): Buffer {
  return into.subarray(0, readSync(file, into, 0, into.length, position))
}
