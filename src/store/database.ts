/**
 * Opening a SQLite file the way Shadow wants it: private to its owner, in WAL mode, migrated forward, and
 * refused when a newer Shadow wrote it.
 */
import { chmodSync, closeSync, existsSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import SqliteDatabase from 'better-sqlite3'
import { Kysely, SqliteDialect } from 'kysely'
import { type Migration, Migrator } from 'kysely/migration'
import { z } from 'zod'
import { messageOf, ShadowError } from '../lib/error.ts'

export interface OpenOptions {
  /** `full` survives the loss of power at the price of an fsync a commit; `normal` survives the process. */
  synchronous?: 'normal' | 'full'
  /** Bytes; larger pages suit rows that hold whole messages. */
  pageSizeBytes?: number
  readonly?: boolean
}

export interface OpenedDatabase<Schema> {
  /** For prepared statements on hot paths. */
  readonly sqlite: SqliteDatabase.Database
  /** For everything else. */
  readonly db: Kysely<Schema>
  close(): Promise<void>
}

/**
 * Opens `path`, creating file and folder (0600, 0700) where they are missing, and migrates it.
 * @throws ShadowError store_failed when the file is no database, was written by a newer version, or can't be written
 */
export async function openDatabase<Schema>(
  path: string,
  migrations: Record<string, Migration>,
  options: OpenOptions = {},
): Promise<OpenedDatabase<Schema>> {
  let sqlite: SqliteDatabase.Database | null = null
  let state: 'current' | 'behind'
  try {
    if (options.readonly !== true) createPrivately(path)
    sqlite = new SqliteDatabase(path, { readonly: options.readonly === true, timeout: 10_000 })
    state = schemaState(sqlite, path, migrations)
    if (options.readonly !== true) {
      sqlite.pragma(`page_size = ${options.pageSizeBytes ?? 8192}`)
      // Takes effect in a new file only; in an old one a deletion sees to it.
      sqlite.pragma('auto_vacuum = INCREMENTAL')
      sqlite.pragma('journal_mode = WAL')
      // What is deleted is overwritten, and so is what a page leaves behind when it is split.
      sqlite.pragma('secure_delete = ON')
    }
    sqlite.pragma(`synchronous = ${options.synchronous ?? 'normal'}`)
    sqlite.pragma('foreign_keys = ON')
  } catch (cause) {
    sqlite?.close()
    if (cause instanceof ShadowError) throw cause
    throw new ShadowError('store_failed', `Can't open the store ${path}: ${messageOf(cause)}.`, {
      hint: 'Check that the folder is writable and that the file is a Shadow database.',
      cause,
    })
  }
  const opened = sqlite
  const db = new Kysely<Schema>({ dialect: new SqliteDialect({ database: opened }) })
  const close = async () => {
    await db.destroy()
    // Kysely closes only what it has used.
    opened.close()
  }
  try {
    if (state === 'behind') {
      if (options.readonly === true) throw behind(path)
      await migrate(opened, db, path, migrations)
    }
  } catch (cause) {
    await close()
    throw cause
  }
  return { sqlite: opened, db, close }
}

function createPrivately(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  if (!existsSync(path)) closeSync(openSync(path, 'a', 0o600))
  chmodSync(path, 0o600)
}

/**
 * Whether a file has all the migrations that this version knows.
 * @throws ShadowError store_failed when it has some that this version doesn't know, or is no database
 */
function schemaState(
  sqlite: SqliteDatabase.Database,
  path: string,
  migrations: Record<string, Migration>,
): 'current' | 'behind' {
  let applied: string[]
  try {
    const table = sqlite
      .prepare<[], { name: string }>("SELECT name FROM sqlite_master WHERE name = 'kysely_migration'")
      .get()
    applied =
      table === undefined
        ? []
        : sqlite
            .prepare<[], { name: string }>('SELECT name FROM kysely_migration')
            .all()
            .map(({ name }) => name)
  } catch (cause) {
    throw new ShadowError('store_failed', `Can't read the store ${path}: ${messageOf(cause)}.`, {
      hint: /readonly|permission/i.test(messageOf(cause))
        ? 'This user can’t write there, which even reading takes after a server was killed: check owner and disk.'
        : 'The file is damaged, or no database; `shadow doctor --store` says more.',
      cause,
    })
  }
  const unknown = applied.find((name) => migrations[name] === undefined)
  if (unknown !== undefined) {
    throw new ShadowError('store_failed', `The store ${path} was written by a newer version of Shadow.`, {
      hint: `Update Shadow; the file was left as it is (it has the migration ${unknown}).`,
    })
  }
  return applied.length === Object.keys(migrations).length ? 'current' : 'behind'
}

function behind(path: string): ShadowError {
  return new ShadowError('store_failed', `The store ${path} was written by an older version of Shadow.`, {
    hint: 'The server that runs in this home is an older one: start it again with this version.',
  })
}

/**
 * Gives free pages back and empties the write-ahead log, which holds old ones, for files of modest size.
 * @returns false where a reader stands in the way
 */
export function scrubFile(sqlite: SqliteDatabase.Database): boolean {
  sqlite.pragma('auto_vacuum = INCREMENTAL')
  sqlite.exec('VACUUM')
  return emptyLog(sqlite)
}

/** @returns false where a reader stands in the way */
export function emptyLog(sqlite: SqliteDatabase.Database): boolean {
  const [state] = z.array(z.object({ busy: z.number() })).parse(sqlite.pragma('wal_checkpoint(TRUNCATE)'))
  return state?.busy === 0
}

/** @throws ShadowError store_failed when a newer version wrote the file, or it is no database */
export function assertKnownSchema(
  sqlite: SqliteDatabase.Database,
  path: string,
  migrations: Record<string, Migration>,
): void {
  schemaState(sqlite, path, migrations)
}

/** Whether a file waits for migrations. @throws ShadowError store_failed */
export function isBehind(path: string, migrations: Record<string, Migration>): boolean {
  const sqlite = new SqliteDatabase(path, { readonly: true, timeout: 10_000 })
  try {
    return schemaState(sqlite, path, migrations) === 'behind'
  } finally {
    sqlite.close()
  }
}

/** All of them in one transaction, or none; two processes one after the other. */
async function migrate<Schema>(
  sqlite: SqliteDatabase.Database,
  db: Kysely<Schema>,
  path: string,
  migrations: Record<string, Migration>,
): Promise<void> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } })
  try {
    // Kysely opens none of its own for SQLite.
    sqlite.exec('BEGIN IMMEDIATE')
    const { error } = await migrator.migrateToLatest()
    if (error !== undefined) throw error
    sqlite.exec('COMMIT')
  } catch (cause) {
    if (sqlite.inTransaction) sqlite.exec('ROLLBACK')
    throw new ShadowError('store_failed', `Can't migrate ${path}: ${messageOf(cause)}.`, {
      hint: "The file was left as it is. Check the disk's free space, and try again.",
      cause,
    })
  }
}
