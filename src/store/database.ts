/**
 * Opening a SQLite file the way Shadow wants it: private to its owner, in WAL mode, migrated forward, and
 * refused when a newer Shadow wrote it.
 */
import { chmodSync, closeSync, existsSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import SqliteDatabase from 'better-sqlite3'
import { Kysely, SqliteDialect } from 'kysely'
import { type Migration, Migrator } from 'kysely/migration'
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
  let sqlite: SqliteDatabase.Database
  try {
    if (options.readonly !== true) createPrivately(path)
    sqlite = new SqliteDatabase(path, { readonly: options.readonly === true, timeout: 10_000 })
    if (options.readonly !== true) {
      sqlite.pragma(`page_size = ${options.pageSizeBytes ?? 8192}`)
      sqlite.pragma('journal_mode = WAL')
    }
    sqlite.pragma(`synchronous = ${options.synchronous ?? 'normal'}`)
    sqlite.pragma('foreign_keys = ON')
  } catch (cause) {
    throw new ShadowError('store_failed', `Can't open the store ${path}: ${messageOf(cause)}.`, {
      hint: 'Check that the folder is writable and that the file is a Shadow database.',
      cause,
    })
  }
  const db = new Kysely<Schema>({ dialect: new SqliteDialect({ database: sqlite }) })
  if (options.readonly !== true) await migrate(db, path, migrations)
  return {
    sqlite,
    db,
    async close() {
      await db.destroy()
    },
  }
}

function createPrivately(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  if (!existsSync(path)) closeSync(openSync(path, 'a', 0o600))
  chmodSync(path, 0o600)
}

async function migrate<Schema>(
  db: Kysely<Schema>,
  path: string,
  migrations: Record<string, Migration>,
): Promise<void> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } })
  const { error } = await migrator.migrateToLatest()
  if (error === undefined) return
  await db.destroy()
  const text = messageOf(error)
  // Kysely names a migration that the file has and the code hasn't.
  const newer = text.includes('missing')
  throw new ShadowError(
    'store_failed',
    newer ? `The store ${path} was written by a newer version of Shadow.` : `Can't migrate ${path}: ${text}.`,
    {
      hint: newer ? 'Update Shadow; the file was left as it is.' : 'The file was left as it is.',
      cause: error,
    },
  )
}
