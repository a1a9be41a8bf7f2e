/** Deletes calls from the tables, in slices, so that those that come meanwhile are brought in between. */
import type SqliteDatabase from 'better-sqlite3'
import { z } from 'zod'
import type { DeletionPlan, RetentionRules } from '../../contract/index.ts'
import type { KeyedHash } from '../../lib/hash.ts'
import { emptyLog } from '../database.ts'
import { PartReader } from './blobs.ts'
import { expiredCalls } from './expired.ts'
import { GarbageCollector, noSuspects, reverseIndexes, type Suspects } from './garbage.ts'
import { readHoles } from './layout.ts'
import { StoredChecksums } from './record-checksum.ts'
import { usersInEnvelope } from './user-of.ts'

/** What to delete, in terms of the tables: every given criterion must hold. */
export const storedSelection = z.object({
  sessions: z.array(z.string()).optional(),
  task: z.string().optional(),
  user: z.string().optional(),
  /** Hashes of credentials, hex. */
  keyHashes: z.array(z.string()).optional(),
  before: z.number().optional(),
})
export type StoredSelection = z.infer<typeof storedSelection>

/** Free pages that one step gives back to the file system. */
const pagesPerStep = 256

interface CallRow {
  seq: number
  session: number
  scope: number
  raw_node: number
  node: number
  parent_node: number | null
  envelope: number
}

export class Deletion {
  private readonly sqlite: SqliteDatabase.Database
  private readonly hash: KeyedHash

  constructor(sqlite: SqliteDatabase.Database, hash: KeyedHash) {
    this.sqlite = sqlite
    this.hash = hash
  }

  /** Notes which calls are to go, and says what they are. */
  choose(selection: StoredSelection): DeletionPlan {
    this.chooseNothing()
    const { sessions, task, user, keyHashes, before } = selection
    if (user !== undefined) this.chooseEnvelopes(user)
    const inList = (values: readonly string[]) => values.map(() => '?').join(', ')
    const criteria: [condition: string, values: (string | number | Buffer)[]][] = []
    if (sessions !== undefined) criteria.push([`sessions.id IN (${inList(sessions)})`, sessions])
    if (task !== undefined) criteria.push(['calls.task = ?', [task]])
    if (user !== undefined) criteria.push(['calls.envelope IN (SELECT id FROM doomed_envelopes)', []])
    if (keyHashes !== undefined) {
      const hashes = keyHashes.map((hex) => Buffer.from(hex, 'hex'))
      criteria.push([`scopes.key_hash IN (${inList(keyHashes)})`, hashes])
    }
    if (before !== undefined) criteria.push(['calls.started_at < ?', [before]])
    if (criteria.length === 0) throw new Error('Nothing says what to delete.')
    this.sqlite
      .prepare(
        `INSERT INTO doomed SELECT calls.seq FROM calls JOIN sessions ON sessions.seq = calls.session
         JOIN scopes ON scopes.id = calls.scope WHERE ${criteria.map(([condition]) => condition).join(' AND ')}`,
      )
      .run(...criteria.flatMap(([, values]) => values))
    return this.plan()
  }

  /** Notes which calls are kept no longer, at most `limit` of them, and says what they are. */
  chooseExpired(rules: RetentionRules, limit: number): DeletionPlan {
    this.chooseNothing()
    const insert = this.sqlite.prepare<[number]>('INSERT INTO doomed VALUES (?)')
    for (const seq of expiredCalls(this.sqlite, rules, limit)) insert.run(seq)
    return this.plan()
  }

  private chooseNothing(): void {
    this.sqlite.exec(
      `CREATE TEMP TABLE IF NOT EXISTS doomed (seq INTEGER PRIMARY KEY);
       CREATE TEMP TABLE IF NOT EXISTS doomed_envelopes (id INTEGER PRIMARY KEY);
       DELETE FROM doomed; DELETE FROM doomed_envelopes`,
    )
  }

  private plan(): DeletionPlan {
    const counts = this.sqlite
      .prepare<[], { calls: number; sessions: number }>(
        'SELECT count(*) AS calls, count(DISTINCT session) AS sessions FROM doomed JOIN calls USING (seq)',
      )
      .get()
    const tasks = this.sqlite
      .prepare<[], { task: string }>('SELECT DISTINCT task FROM doomed JOIN calls USING (seq) ORDER BY task')
      .all()
    return { calls: 0, sessions: 0, ...counts, tasks: tasks.map(({ task }) => task) }
  }

  private chooseEnvelopes(user: string): void {
    const parts = new PartReader(this.sqlite)
    const part = this.sqlite.prepare<[Buffer], { bytes: Buffer; holes: string | null }>(
      'SELECT bytes, holes FROM parts WHERE hash = ?',
    )
    const bytesOf = (hash: string) => {
      const found = part.get(Buffer.from(hash, 'hex'))
      return found === undefined ? Buffer.from('null') : parts.whole(found)
    }
    const found: number[] = []
    const envelopes = this.sqlite.prepare<[], { id: number; literal: Buffer; holes: string }>(
      'SELECT id, literal, holes FROM envelopes',
    )
    // Read whole first: a connection that iterates can do nothing else.
    for (const { id, literal, holes } of envelopes.all()) {
      if (usersInEnvelope({ literal, holes: readHoles(holes) }, bytesOf).includes(user)) found.push(id)
    }
    const insert = this.sqlite.prepare<[number]>('INSERT INTO doomed_envelopes VALUES (?)')
    for (const id of found) insert.run(id)
  }

  /** Makes one of the indexes that deleting needs; false when all are there. */
  prepareStep(): boolean {
    const known = this.sqlite.prepare<[], { name: string }>(
      "SELECT name FROM sqlite_master WHERE type = 'index' AND name LIKE 'gc\\_%' ESCAPE '\\'",
    )
    const there = new Set(known.all().map(({ name }) => name))
    const missing = Object.entries(reverseIndexes).find(([name]) => !there.has(name))
    if (missing === undefined) return false
    this.sqlite.exec(`CREATE INDEX ${missing[0]} ON ${missing[1]}`)
    return true
  }

  /** Deletes up to `limit` of the chosen calls and what only they held; how many they were. */
  deleteStep(limit: number): number {
    this.sqlite.exec('BEGIN IMMEDIATE')
    try {
      const rows = this.sqlite
        .prepare<[number], CallRow>(
          `SELECT seq, session, scope, raw_node, node, parent_node, envelope FROM doomed JOIN calls USING (seq)
           ORDER BY seq LIMIT ?`,
        )
        .all(limit)
      const suspects = noSuspects()
      for (const row of rows) this.deleteCall(row, suspects)
      new GarbageCollector(this.sqlite).collect(suspects)
      this.sqlite.exec('COMMIT')
      return rows.length
    } catch (error) {
      if (this.sqlite.inTransaction) this.sqlite.exec('ROLLBACK')
      throw error
    }
  }

  private deleteCall(row: CallRow, suspects: Suspects): void {
    const { seq } = row
    suspects.sessions.add(row.session)
    suspects.scopes.add(row.scope)
    suspects.raw.add(row.raw_node)
    suspects.nodes.add(row.node)
    if (row.parent_node !== null) suspects.nodes.add(row.parent_node)
    suspects.envelopes.add(row.envelope)
    const replies = this.sqlite
      .prepare<[number], { raw_node: number; node: number }>(
        'SELECT raw_node, node FROM call_replies WHERE call = ?',
      )
      .all(seq)
    for (const reply of replies) {
      suspects.raw.add(reply.raw_node)
      suspects.nodes.add(reply.node)
    }
    this.cutLoose(seq, suspects)
    for (const statement of [
      'DELETE FROM reply_bodies WHERE call = ?',
      'DELETE FROM call_replies WHERE call = ?',
      'DELETE FROM calls WHERE seq = ?',
      'DELETE FROM doomed WHERE seq = ?',
    ]) {
      this.sqlite.prepare<[number]>(statement).run(seq)
    }
  }

  /** Calls that went on from this one and stay begin a branch of their own. */
  private cutLoose(seq: number, suspects: Suspects): void {
    const followers = this.sqlite
      .prepare<[number, number], { seq: number; parent_node: number | null }>(
        'SELECT seq, parent_node FROM calls WHERE parent = ? OR continues = ?',
      )
      .all(seq, seq)
    if (followers.length === 0) return
    this.sqlite
      .prepare<[number]>('UPDATE calls SET parent = NULL, parent_node = NULL WHERE parent = ?')
      .run(seq)
    this.sqlite.prepare<[number]>('UPDATE calls SET continues = NULL WHERE continues = ?').run(seq)
    const checksums = new StoredChecksums(this.sqlite, this.hash)
    const update = this.sqlite.prepare<[Buffer | null, number]>('UPDATE calls SET checksum = ? WHERE seq = ?')
    for (const follower of followers) {
      if (follower.parent_node !== null) suspects.nodes.add(follower.parent_node)
      update.run(checksums.of(follower.seq), follower.seq)
    }
  }

  /** Gives free pages back to the file system; false when there are none left. */
  shrinkStep(): boolean {
    if (Number(this.sqlite.pragma('auto_vacuum', { simple: true })) !== 2) {
      // An older file, which was written without overwriting what is deleted: it is written anew, once.
      this.sqlite.pragma('auto_vacuum = INCREMENTAL')
      this.sqlite.exec('VACUUM')
      return true
    }
    if (Number(this.sqlite.pragma('freelist_count', { simple: true })) === 0) return false
    this.sqlite.exec(`PRAGMA incremental_vacuum(${pagesPerStep})`)
    return true
  }

  dropIndexes(): void {
    for (const name of Object.keys(reverseIndexes)) this.sqlite.exec(`DROP INDEX IF EXISTS ${name}`)
  }

  /** Empties the write-ahead log, which holds old pages; false where a reader stands in the way. */
  emptyLog(): boolean {
    return emptyLog(this.sqlite)
  }
}
