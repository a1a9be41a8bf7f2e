/** Forward only; a migration that has shipped is never edited. */
import { type Kysely, sql } from 'kysely'
import type { Migration } from 'kysely/migration'

const first: Migration = {
  async up(db: Kysely<unknown>) {
    for (const statement of [
      'CREATE TABLE tasks (name TEXT PRIMARY KEY, created_at INTEGER NOT NULL, config TEXT NOT NULL) STRICT',
      `CREATE TABLE task_references (
        task TEXT NOT NULL, kind TEXT NOT NULL, match TEXT NOT NULL, answer TEXT NOT NULL,
        PRIMARY KEY (task, kind, match)) STRICT, WITHOUT ROWID`,
      'CREATE TABLE verdicts (id TEXT PRIMARY KEY, task TEXT NOT NULL, verdict TEXT NOT NULL) STRICT',
      `CREATE TABLE stages (
        key TEXT PRIMARY KEY, task TEXT NOT NULL, name TEXT NOT NULL, finished_at INTEGER NOT NULL,
        took_ms REAL NOT NULL, output TEXT NOT NULL) STRICT`,
      `CREATE TABLE stage_events (
        id INTEGER PRIMARY KEY, run TEXT NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL,
        event TEXT NOT NULL, at INTEGER NOT NULL) STRICT`,
      `CREATE TABLE runs (
        id TEXT PRIMARY KEY, task TEXT NOT NULL, state TEXT NOT NULL, stage TEXT NOT NULL, pid INTEGER NOT NULL,
        started_at INTEGER NOT NULL, finished_at INTEGER, error TEXT, version TEXT, report_path TEXT) STRICT`,
      `CREATE TABLE model_versions (
        task TEXT NOT NULL, number INTEGER NOT NULL, source_key TEXT NOT NULL UNIQUE, base_model TEXT NOT NULL,
        base_hash TEXT NOT NULL,
        adapter_path TEXT NOT NULL, adapter_hash TEXT NOT NULL, serving_hash TEXT NOT NULL,
        serve_policy TEXT NOT NULL, created_at INTEGER NOT NULL, promoted INTEGER NOT NULL, sentence TEXT NOT NULL,
        PRIMARY KEY (task, number)) STRICT`,
      `CREATE TABLE route_events (
        id INTEGER PRIMARY KEY, task TEXT NOT NULL, state TEXT NOT NULL, version TEXT, reason TEXT NOT NULL,
        source_key TEXT UNIQUE, at INTEGER NOT NULL) STRICT`,
      'CREATE INDEX route_events_task ON route_events (task, id)',
      'CREATE INDEX runs_task ON runs (task, id)',
    ]) {
      await sql.raw(statement).execute(db)
    }
  },
}

const keys: Migration = {
  async up(db: Kysely<unknown>) {
    await sql
      .raw(
        `CREATE TABLE proxy_keys (
          id TEXT PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, tasks TEXT,
          created_at INTEGER NOT NULL, revoked_at INTEGER) STRICT`,
      )
      .execute(db)
  },
}

const deletions: Migration = {
  async up(db: Kysely<unknown>) {
    for (const statement of [
      `CREATE TABLE deletions (
        id INTEGER PRIMARY KEY, selection TEXT, is_cascading INTEGER NOT NULL, requested_at INTEGER NOT NULL,
        finished_at INTEGER) STRICT`,
      'ALTER TABLE model_versions ADD COLUMN source_deleted_at INTEGER',
      'ALTER TABLE model_versions ADD COLUMN retired_at INTEGER',
    ]) {
      await sql.raw(statement).execute(db)
    }
  },
}

const settings: Migration = {
  async up(db: Kysely<unknown>) {
    await sql.raw('CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT').execute(db)
  },
}

export const pipelineMigrations: Record<string, Migration> = {
  '0001_first': first,
  '0002_keys': keys,
  '0003_deletions': deletions,
  '0004_settings': settings,
}
