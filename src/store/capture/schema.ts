/**
 * Tables of capture.db. A message's bytes lie in `parts`, once; nodes hold hashes and pointers. A raw node is
 * a message as it came, under the one before it, and the raw root holds the tools; a canonical node is what
 * raw nodes of equal meaning share.
 */
import type { Generated } from 'kysely'
import { type Kysely, sql } from 'kysely'
import type { Migration } from 'kysely/migration'
import type { CallStatus } from '../../contract/index.ts'

export interface CaptureSchema {
  parts: { id: Generated<number>; hash: Buffer; bytes: Buffer }
  nodes: { id: Generated<number>; hash: Buffer; parent: number | null; depth: number }
  raw_nodes: {
    id: Generated<number>
    hash: Buffer
    parent: number | null
    /** Null in the root of a conversation without tools. */
    part: number | null
    node: number
    /** Messages up to here. */
    depth: number
  }
  /** What is left of a request when messages, tools and large values are taken out. */
  envelopes: { id: Generated<number>; hash: Buffer; literal: Buffer; holes: string }
  /** One row for each key and task that calls came with. */
  scopes: { id: Generated<number>; task: string; key_hash: Buffer }
  sessions: { seq: Generated<number>; id: string; scope: number; task: string; label: string | null }
  calls: {
    seq: Generated<number>
    id: string
    task: string
    scope: number
    session: number
    parent: number | null
    /** The reply of `parent` that the prompt goes on from. */
    parent_node: number | null
    dialect: string
    started_at: number
    status: CallStatus
    http_status: number | null
    stream: number
    model_asked: string
    model_answered: string | null
    served_by: string
    fallback_from: string | null
    prompt_tokens: number | null
    completion_tokens: number | null
    total_tokens: number | null
    first_byte_ms: number | null
    total_ms: number
    error: string | null
    raw_node: number
    node: number
    envelope: number
    /** By what a later request may name the reply. */
    reply_id: string | null
    /** Row of the call that this one goes on from with a history that was rewritten. */
    continues: number | null
    agent: string | null
    parent_agent: string | null
  }
  call_replies: {
    call: number
    /** Where the choice stands in the reply. */
    place: number
    choice: number
    raw_node: number
    node: number
    finish_reason: string | null
    scope: number
    session: number
  }
  /** What is left of a reply when its messages are taken out; the whole body where it holds none. */
  reply_bodies: { call: number; literal: Buffer; holes: string }
}

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

/** Forward only; a migration that has shipped is never edited. */
export const captureMigrations: Record<string, Migration> = { '0001_first': first, '0002_identity': identity }
