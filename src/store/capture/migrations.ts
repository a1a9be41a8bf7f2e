/** Migrations of capture.db. Forward only; a migration that has shipped is never edited. */
import { type Kysely, sql } from 'kysely'
import type { Migration } from 'kysely/migration'

const first: Migration = {
  async up(db: Kysely<unknown>) {
    for (const statement of [
      'CREATE TABLE parts (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, bytes BLOB NOT NULL) STRICT',
      `CREATE TABLE nodes (
        id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, parent INTEGER REFERENCES nodes, depth INTEGER NOT NULL) STRICT`,
      `CREATE TABLE raw_nodes (
        id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, parent INTEGER REFERENCES raw_nodes,
        part INTEGER REFERENCES parts, node INTEGER NOT NULL REFERENCES nodes, depth INTEGER NOT NULL) STRICT`,
      `CREATE TABLE envelopes (
        id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, literal BLOB NOT NULL, holes TEXT NOT NULL) STRICT`,
      `CREATE TABLE scopes (
        id INTEGER PRIMARY KEY, task TEXT NOT NULL, key_hash BLOB NOT NULL, UNIQUE (task, key_hash)) STRICT`,
      `CREATE TABLE sessions (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, scope INTEGER NOT NULL REFERENCES scopes,
        task TEXT NOT NULL, label TEXT) STRICT`,
      `CREATE TABLE calls (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, task TEXT NOT NULL,
        scope INTEGER NOT NULL REFERENCES scopes, session INTEGER NOT NULL REFERENCES sessions,
        parent INTEGER REFERENCES calls, parent_node INTEGER REFERENCES nodes, dialect TEXT NOT NULL, started_at INTEGER NOT NULL, status TEXT NOT NULL,
        http_status INTEGER, stream INTEGER NOT NULL, model_asked TEXT NOT NULL, model_answered TEXT,
        served_by TEXT NOT NULL, fallback_from TEXT, prompt_tokens INTEGER, completion_tokens INTEGER,
        total_tokens INTEGER, first_byte_ms REAL, total_ms REAL NOT NULL, error TEXT,
        raw_node INTEGER NOT NULL REFERENCES raw_nodes, node INTEGER NOT NULL REFERENCES nodes,
        envelope INTEGER NOT NULL REFERENCES envelopes) STRICT`,
      `CREATE TABLE call_replies (
        call INTEGER NOT NULL REFERENCES calls, place INTEGER NOT NULL, choice INTEGER NOT NULL,
        raw_node INTEGER NOT NULL REFERENCES raw_nodes, node INTEGER NOT NULL REFERENCES nodes,
        finish_reason TEXT, scope INTEGER NOT NULL, session INTEGER NOT NULL,
        PRIMARY KEY (call, place)) STRICT, WITHOUT ROWID`,
      `CREATE TABLE reply_bodies (
        call INTEGER PRIMARY KEY REFERENCES calls, literal BLOB NOT NULL, holes TEXT NOT NULL) STRICT`,
      'CREATE INDEX sessions_task ON sessions (task, seq)',
      'CREATE INDEX calls_task ON calls (task, id)',
      'CREATE INDEX calls_session ON calls (session, id)',
      'CREATE INDEX calls_prompt ON calls (scope, raw_node)',
      'CREATE INDEX calls_parent ON calls (parent) WHERE parent IS NOT NULL',
      'CREATE INDEX replies_scope ON call_replies (scope, node)',
      'CREATE INDEX replies_session ON call_replies (session, node)',
    ]) {
      await sql.raw(statement).execute(db)
    }
  },
}

const identity: Migration = {
  async up(db: Kysely<unknown>) {
    for (const statement of [
      'ALTER TABLE calls ADD COLUMN reply_id TEXT',
      'ALTER TABLE calls ADD COLUMN continues INTEGER',
      'ALTER TABLE calls ADD COLUMN agent TEXT',
      'ALTER TABLE calls ADD COLUMN parent_agent TEXT',
      'CREATE INDEX calls_reply_id ON calls (scope, reply_id) WHERE reply_id IS NOT NULL',
    ]) {
      await sql.raw(statement).execute(db)
    }
  },
}

const checksums: Migration = {
  async up(db: Kysely<unknown>) {
    for (const table of ['calls', 'sessions']) {
      await sql.raw(`ALTER TABLE ${table} ADD COLUMN checksum BLOB`).execute(db)
    }
  },
}

/** Which large values an envelope refers to, so that deleting finds those that no envelope does. */
const envelopeParts: Migration = {
  async up(db: Kysely<unknown>) {
    for (const statement of [
      `CREATE TABLE envelope_parts (
        envelope INTEGER NOT NULL REFERENCES envelopes, part INTEGER NOT NULL REFERENCES parts,
        PRIMARY KEY (envelope, part)) STRICT, WITHOUT ROWID`,
      `INSERT OR IGNORE INTO envelope_parts SELECT envelopes.id, parts.id
       FROM envelopes, json_each(envelopes.holes) hole
       JOIN parts ON parts.hash = unhex(json_extract(hole.value, '$.hash'))`,
    ]) {
      await sql.raw(statement).execute(db)
    }
  },
}

const redacted: Migration = {
  async up(db: Kysely<unknown>) {
    await sql.raw('ALTER TABLE calls ADD COLUMN redacted TEXT').execute(db)
  },
}

/** By what a rewritten history is recognised, also when the server has been started anew. */
const said: Migration = {
  async up(db: Kysely<unknown>) {
    await sql.raw('ALTER TABLE call_replies ADD COLUMN said BLOB').execute(db)
  },
}

/** Pictures and the like, each stored once, whatever message they stand in. */
const blobs: Migration = {
  async up(db: Kysely<unknown>) {
    for (const statement of [
      'ALTER TABLE parts ADD COLUMN holes TEXT',
      `CREATE TABLE part_blobs (
        part INTEGER NOT NULL REFERENCES parts, blob INTEGER NOT NULL REFERENCES parts,
        PRIMARY KEY (part, blob)) STRICT, WITHOUT ROWID`,
    ]) {
      await sql.raw(statement).execute(db)
    }
  },
}

export const captureMigrations: Record<string, Migration> = {
  '0001_first': first,
  '0002_identity': identity,
  '0003_checksums': checksums,
  '0004_envelope_parts': envelopeParts,
  '0005_redacted': redacted,
  '0006_said': said,
  '0007_blobs': blobs,
}
