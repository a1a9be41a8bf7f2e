/**
 * The prepared statements of the hot path, typed once. Those that usually find nothing join nothing: a join of
 * four tables costs 17 µs before it has looked anything up, a single one 2 µs.
 */
import type SqliteDatabase from 'better-sqlite3'
import { hashBytes } from '../../lib/hash.ts'
import type { BaseReply } from './record.ts'
import { callColumns } from './record-checksum.ts'

/**
 * One look-up for a whole conversation: goes through the hashes of its prefixes, longest first, and stops at
 * the first that is known. Parameters: the hashes in one blob, and how many they are.
 */
const prefixes = `WITH RECURSIVE prefix(depth) AS (
  SELECT @count - 1 UNION ALL SELECT depth - 1 FROM prefix WHERE depth > 0)`
const hashOfPrefix = `substr(@path, prefix.depth * ${hashBytes} + 1, ${hashBytes})`

const firstReply = `SELECT calls.id AS call, sessions.id AS session, raw_nodes.hash AS raw, nodes.hash AS node
  FROM calls JOIN call_replies ON call_replies.call = calls.seq JOIN sessions ON sessions.seq = calls.session
  JOIN raw_nodes ON raw_nodes.id = call_replies.raw_node JOIN nodes ON nodes.id = call_replies.node`

export interface Path {
  path: Buffer
  count: number
}

export interface KnownNode {
  depth: number
  id: number
  node: number
}

export interface DeepestReply {
  depth: number
  /** Canonical node of the reply. */
  hash: Buffer
  /** Row of the latest call that was given it. */
  call: number
}

/** A reply of a session, the latest first. */
export interface TailRow {
  call: string
  agent: string | null
  dialect: string
  rawNode: number
  said: Buffer
}

export interface AskedRow {
  id: string
  session: string
  startedAt: number
  parentCall: string | null
  parentNode: Buffer | null
  /** When a call first went on from it or from an equal one of its session. */
  continuedAt: number | null
}

/** Named one by one, since the inferred type can't be written into a declaration file. */
export interface Statements {
  readonly longestKnownPrompt: SqliteDatabase.Statement<[Path], KnownNode>
  readonly deepestReplyInScope: SqliteDatabase.Statement<[Path & { scope: number }], DeepestReply>
  readonly deepestReplyInSession: SqliteDatabase.Statement<[Path & { session: number }], DeepestReply>
  readonly callAndSession: SqliteDatabase.Statement<[number], { id: string; session: string }>
  readonly replyNamed: SqliteDatabase.Statement<[number, string], BaseReply>
  readonly latestReplyInSession: SqliteDatabase.Statement<[number], BaseReply>
  readonly repliesOfCall: SqliteDatabase.Statement<[string], { hash: Buffer }>
  readonly depthOfRawNode: SqliteDatabase.Statement<[Buffer], { depth: number }>
  readonly lastCallAt: SqliteDatabase.Statement<[], { at: number | null }>
  readonly callById: SqliteDatabase.Statement<[string], { seq: number }>
  readonly lastCallOfPrompt: SqliteDatabase.Statement<[number, number], AskedRow>
  readonly scope: SqliteDatabase.Statement<[string, Buffer], { id: number }>
  readonly session: SqliteDatabase.Statement<[string], { seq: number }>
  readonly part: SqliteDatabase.Statement<[Buffer], { id: number }>
  readonly node: SqliteDatabase.Statement<[Buffer], { id: number; depth: number }>
  readonly rawNode: SqliteDatabase.Statement<[Buffer], { id: number; node: number }>
  readonly envelope: SqliteDatabase.Statement<[Buffer], { id: number }>
  readonly depthOfNode: SqliteDatabase.Statement<[number], { depth: number }>
  readonly insertScope: SqliteDatabase.Statement<[string, Buffer]>
  readonly insertSession: SqliteDatabase.Statement<[string, number, string, string | null, Buffer]>
  readonly insertPart: SqliteDatabase.Statement<[Buffer, Uint8Array, string | null]>
  readonly linkBlob: SqliteDatabase.Statement<[number, number]>
  readonly insertNode: SqliteDatabase.Statement<[Buffer, number | null, number]>
  readonly insertRawNode: SqliteDatabase.Statement<[Buffer, number | null, number | null, number, number]>
  readonly insertEnvelope: SqliteDatabase.Statement<[Buffer, Uint8Array, string]>
  readonly linkPart: SqliteDatabase.Statement<[number, number]>
  /** The call's columns in their order, and the checksum. */
  readonly insertCall: SqliteDatabase.Statement<(string | number | Buffer | null)[]>
  readonly insertReply: SqliteDatabase.Statement<
    [number, number, number, number, number, string | null, number, number, Buffer | null]
  >
  readonly tailOfSession: SqliteDatabase.Statement<[number, number], TailRow>
  readonly insertReplyBody: SqliteDatabase.Statement<[number, Uint8Array, string]>
}

export function prepareStatements(sqlite: SqliteDatabase.Database): Statements {
  return {
    longestKnownPrompt: sqlite.prepare<[Path], KnownNode>(`${prefixes}
      SELECT prefix.depth, known.id, known.node FROM prefix CROSS JOIN raw_nodes known
      ON known.hash = ${hashOfPrefix} LIMIT 1`),
    deepestReplyInScope: sqlite.prepare<[Path & { scope: number }], DeepestReply>(`${prefixes}
      SELECT prefix.depth, known.hash,
        (SELECT max(call) FROM call_replies WHERE scope = @scope AND node = known.id) AS call
      FROM prefix CROSS JOIN nodes known ON known.hash = ${hashOfPrefix} WHERE call IS NOT NULL LIMIT 1`),
    deepestReplyInSession: sqlite.prepare<[Path & { session: number }], DeepestReply>(`${prefixes}
      SELECT prefix.depth, known.hash,
        (SELECT max(call) FROM call_replies WHERE session = @session AND node = known.id) AS call
      FROM prefix CROSS JOIN nodes known ON known.hash = ${hashOfPrefix} WHERE call IS NOT NULL LIMIT 1`),
    callAndSession: sqlite.prepare<[number], { id: string; session: string }>(
      `SELECT calls.id, sessions.id AS session FROM calls JOIN sessions ON sessions.seq = calls.session
       WHERE calls.seq = ?`,
    ),
    replyNamed: sqlite.prepare<[number, string], BaseReply>(`${firstReply}
      WHERE calls.scope = ? AND calls.reply_id = ? AND place = 0 ORDER BY calls.seq DESC LIMIT 1`),
    latestReplyInSession: sqlite.prepare<[number], BaseReply>(`${firstReply}
      WHERE calls.session = ? AND place = 0 ORDER BY calls.id DESC LIMIT 1`),
    repliesOfCall: sqlite.prepare<[string], { hash: Buffer }>(
      `SELECT nodes.hash FROM calls JOIN call_replies ON call_replies.call = calls.seq
       JOIN nodes ON nodes.id = call_replies.node WHERE calls.id = ? ORDER BY place`,
    ),
    depthOfRawNode: sqlite.prepare<[Buffer], { depth: number }>('SELECT depth FROM raw_nodes WHERE hash = ?'),
    lastCallAt: sqlite.prepare<[], { at: number | null }>(
      'SELECT max(started_at) AS at FROM (SELECT started_at FROM calls ORDER BY seq DESC LIMIT 1000)',
    ),
    callById: sqlite.prepare<[string], { seq: number }>('SELECT seq FROM calls WHERE id = ?'),
    lastCallOfPrompt: sqlite.prepare<[number, number], AskedRow>(
      `SELECT calls.id, sessions.id AS session, calls.started_at AS startedAt, parents.id AS parentCall,
         nodes.hash AS parentNode, (
           SELECT min(later.started_at) FROM (
             SELECT asked.seq, asked.session FROM calls asked
             WHERE asked.scope = calls.scope AND asked.raw_node = calls.raw_node ORDER BY asked.seq DESC LIMIT 256
           ) attempt JOIN calls later ON later.parent = attempt.seq WHERE attempt.session = calls.session
         ) AS continuedAt
       FROM calls JOIN sessions ON sessions.seq = calls.session
       LEFT JOIN calls parents ON parents.seq = calls.parent LEFT JOIN nodes ON nodes.id = calls.parent_node
       WHERE calls.scope = ? AND calls.raw_node = ? ORDER BY calls.seq DESC LIMIT 1`,
    ),
    scope: sqlite.prepare<[string, Buffer], { id: number }>(
      'SELECT id FROM scopes WHERE task = ? AND key_hash = ?',
    ),
    session: sqlite.prepare<[string], { seq: number }>('SELECT seq FROM sessions WHERE id = ?'),
    part: sqlite.prepare<[Buffer], { id: number }>('SELECT id FROM parts WHERE hash = ?'),
    node: sqlite.prepare<[Buffer], { id: number; depth: number }>(
      'SELECT id, depth FROM nodes WHERE hash = ?',
    ),
    rawNode: sqlite.prepare<[Buffer], { id: number; node: number }>(
      'SELECT id, node FROM raw_nodes WHERE hash = ?',
    ),
    envelope: sqlite.prepare<[Buffer], { id: number }>('SELECT id FROM envelopes WHERE hash = ?'),
    depthOfNode: sqlite.prepare<[number], { depth: number }>('SELECT depth FROM nodes WHERE id = ?'),
    insertScope: sqlite.prepare<[string, Buffer]>(
      'INSERT INTO scopes (task, key_hash) VALUES (?, ?) ON CONFLICT (task, key_hash) DO NOTHING',
    ),
    insertSession: sqlite.prepare<[string, number, string, string | null, Buffer]>(
      `INSERT INTO sessions (id, scope, task, label, checksum) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (id) DO NOTHING`,
    ),
    insertPart: sqlite.prepare<[Buffer, Uint8Array, string | null]>(
      'INSERT INTO parts (hash, bytes, holes) VALUES (?, ?, ?) ON CONFLICT (hash) DO NOTHING',
    ),
    linkBlob: sqlite.prepare<[number, number]>('INSERT OR IGNORE INTO part_blobs (part, blob) VALUES (?, ?)'),
    insertNode: sqlite.prepare<[Buffer, number | null, number]>(
      'INSERT INTO nodes (hash, parent, depth) VALUES (?, ?, ?) ON CONFLICT (hash) DO NOTHING',
    ),
    insertRawNode: sqlite.prepare<[Buffer, number | null, number | null, number, number]>(
      `INSERT INTO raw_nodes (hash, parent, part, node, depth) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (hash) DO NOTHING`,
    ),
    insertEnvelope: sqlite.prepare<[Buffer, Uint8Array, string]>(
      'INSERT INTO envelopes (hash, literal, holes) VALUES (?, ?, ?) ON CONFLICT (hash) DO NOTHING',
    ),
    linkPart: sqlite.prepare<[number, number]>(
      'INSERT OR IGNORE INTO envelope_parts (envelope, part) VALUES (?, ?)',
    ),
    insertCall: sqlite.prepare<(string | number | Buffer | null)[]>(
      `INSERT INTO calls (${callColumns.join(', ')}, checksum)
       VALUES (${callColumns.map(() => '?').join(', ')}, ?)`,
    ),
    insertReply: sqlite.prepare<
      [number, number, number, number, number, string | null, number, number, Buffer | null]
    >(
      `INSERT INTO call_replies (call, place, choice, raw_node, node, finish_reason, scope, session, said)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    tailOfSession: sqlite.prepare<[number, number], TailRow>(
      `SELECT calls.id AS call, calls.agent, calls.dialect, call_replies.raw_node AS rawNode, call_replies.said
       FROM calls JOIN call_replies ON call_replies.call = calls.seq
       WHERE calls.session = ? AND said IS NOT NULL ORDER BY calls.id DESC, place LIMIT ?`,
    ),
    insertReplyBody: sqlite.prepare<[number, Uint8Array, string]>(
      'INSERT INTO reply_bodies (call, literal, holes) VALUES (?, ?, ?)',
    ),
  }
}

/** The row that an insert made; else the one that was there before it. */
export function madeOr(
  { changes, lastInsertRowid }: SqliteDatabase.RunResult,
  there: () => number | undefined,
): number {
  if (changes > 0) return Number(lastInsertRowid)
  const row = there()
  if (row === undefined) throw new Error('A row that could not be made is not there either.')
  return row
}
