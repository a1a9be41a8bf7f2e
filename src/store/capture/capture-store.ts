/** The one writer of a home's captured traffic. */
import { closeSync, openSync } from 'node:fs'
import SqliteDatabase from 'better-sqlite3'
import { messageOf, ShadowError } from '../../lib/error.ts'
import type { KeyedHash } from '../../lib/hash.ts'
import { type OpenedDatabase, openDatabase } from '../database.ts'
import { openStoreSecret } from '../secret.ts'
import { CallTables } from './call-tables.ts'
import { CaptureReader, capturePath } from './capture-reader.ts'
import { CaptureWriter } from './capture-writer.ts'
import type { MessageReader } from './message-tree.ts'
import { type PlacingQuestion, placeCall } from './placing.ts'
import { hashPrompt, type Prompt, type PromptContent } from './prompt.ts'
import type { CallRecord, Placement } from './record.ts'
import { type CaptureSchema, captureMigrations } from './schema.ts'
import { prepareStatements, type Statements } from './statements.ts'

export interface CaptureStoreOptions {
  /** `full` survives the loss of power at the price of an fsync a commit; `normal` the death of the process. */
  synchronous?: 'normal' | 'full'
}

/**
 * Opens `<home>/capture.db` for writing, and creates it where it is missing.
 * @param readers the dialects, which give stored bytes their meaning
 * @throws ShadowError busy when another process writes to this home; store_failed
 */
export async function openCaptureStore(
  home: string,
  readers: readonly MessageReader[],
  options: CaptureStoreOptions = {},
): Promise<CaptureStore> {
  const hash = openStoreSecret(home)
  const lock = lockHome(home)
  try {
    const opened = await openDatabase<CaptureSchema>(capturePath(home), captureMigrations, {
      ...options,
      pageSizeBytes: 8192,
    })
    return new CaptureStore(opened, hash, readers, lock)
  } catch (cause) {
    lock.close()
    throw cause
  }
}

export class CaptureStore {
  /** Everything there is to read, as of the last commit. */
  readonly reader: CaptureReader
  private readonly opened: OpenedDatabase<CaptureSchema>
  private readonly hash: KeyedHash
  private readonly lock: SqliteDatabase.Database
  private readonly statements: Statements
  private readonly writer: CaptureWriter

  constructor(
    opened: OpenedDatabase<CaptureSchema>,
    hash: KeyedHash,
    readers: readonly MessageReader[],
    lock: SqliteDatabase.Database,
  ) {
    this.opened = opened
    this.hash = hash
    this.lock = lock
    this.reader = new CaptureReader(opened, readers)
    this.statements = prepareStatements(opened.sqlite)
    this.writer = new CaptureWriter(opened.sqlite, new CallTables(this.statements, hash), () => {})
  }

  /** Names a conversation and each of its prefixes. */
  prompt(content: PromptContent): Prompt {
    return hashPrompt(this.hash, content)
  }

  /** Which session a call belongs to and which call it continues, by what is committed. */
  place(question: PlacingQuestion): Placement {
    return placeCall(this.statements, this.hash, question)
  }

  /**
   * Resolves once the call is committed.
   * @throws ShadowError store_failed; other calls are not affected
   */
  record(call: CallRecord): Promise<void> {
    return this.writer.record(call)
  }

  async close(): Promise<void> {
    this.writer.flush()
    await this.opened.close()
    this.lock.close()
  }
}

/** A lock that the operating system lifts when the process dies, however it dies. */
function lockHome(home: string): SqliteDatabase.Database {
  const path = `${capturePath(home)}.lock`
  closeSync(openSync(path, 'a', 0o600))
  const lock = new SqliteDatabase(path, { timeout: 0 })
  try {
    lock.pragma('locking_mode = EXCLUSIVE')
    lock.exec('BEGIN EXCLUSIVE')
    return lock
  } catch (cause) {
    lock.close()
    throw new ShadowError('busy', `Another process is capturing into ${home}: ${messageOf(cause)}.`, {
      hint: 'Stop the other `shadow serve`, or give this one a SHADOW_HOME of its own.',
      cause,
    })
  }
}
