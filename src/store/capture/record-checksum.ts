/**
 * What a call's row and a session's hold, bound together by one keyed hash: SQLite notices a torn page, not a byte
 * that flipped inside a value. Messages, nodes and envelopes are named by hashes of their own; rows refer to them
 * by number, so that a call's checksum also notices a reference that points elsewhere.
 */
import type SqliteDatabase from 'better-sqlite3'
import type { KeyedHash } from '../../lib/hash.ts'

/** Enough to notice damage; half of what a name takes. */
const checksumBytes = 16

type Value = string | number | null

/** The columns of a call's row that are bound; all but `seq` and the checksum itself. */
export const callColumns = [
  'id',
  'task',
  'scope',
  'session',
  'parent',
  'parent_node',
  'dialect',
  'started_at',
  'status',
  'http_status',
  'stream',
  'model_asked',
  'model_answered',
  'served_by',
  'fallback_from',
  'prompt_tokens',
  'completion_tokens',
  'total_tokens',
  'first_byte_ms',
  'total_ms',
  'error',
  'raw_node',
  'node',
  'envelope',
  'reply_id',
  'continues',
  'agent',
  'parent_agent',
  'redacted',
] as const

export type CallColumns = Readonly<Record<(typeof callColumns)[number], Value>>

export interface ReplyColumns {
  readonly place: number
  readonly choice: number
  readonly raw_node: number
  readonly node: number
  readonly finish_reason: string | null
  readonly said: Buffer | null
}

export interface BodyColumns {
  readonly literal: Uint8Array
  readonly holes: string
}

export function callChecksum(
  hash: KeyedHash,
  call: CallColumns,
  replies: readonly ReplyColumns[],
  body: BodyColumns | null,
): Buffer {
  const facts = JSON.stringify([
    boundValues(call),
    replies.map(({ place, choice, raw_node, node, finish_reason, said }) => {
      const reply = [place, choice, raw_node, node, finish_reason]
      return said === null ? reply : reply.concat(said.toString('hex'))
    }),
    body?.holes ?? null,
  ])
  const length = String(Buffer.byteLength(facts))
  return hash.of('call row', `${length}\0`, facts, body?.literal ?? '').subarray(0, checksumBytes)
}

/** The last columns are newer than the first checksums, and stand in them only where they say something. */
function boundValues(call: CallColumns): Value[] {
  const values = callColumns.map((column) => call[column])
  return values.at(-1) === null ? values.slice(0, -1) : values
}

export function sessionChecksum(
  hash: KeyedHash,
  session: { id: string; scope: number; task: string; label: string | null },
): Buffer {
  const { id, scope, task, label } = session
  return hash.of('session row', JSON.stringify([id, scope, task, label])).subarray(0, checksumBytes)
}

/** Makes the checksums of calls that are in the tables. */
export class StoredChecksums {
  private readonly hash: KeyedHash
  private readonly call: SqliteDatabase.Statement<[number], CallColumns>
  private readonly replies: SqliteDatabase.Statement<[number], ReplyColumns>
  private readonly body: SqliteDatabase.Statement<[number], BodyColumns>

  constructor(sqlite: SqliteDatabase.Database, hash: KeyedHash) {
    this.hash = hash
    this.call = sqlite.prepare<[number], CallColumns>(
      `SELECT ${callColumns.join(', ')} FROM calls WHERE seq = ?`,
    )
    this.replies = sqlite.prepare<[number], ReplyColumns>(
      `SELECT place, choice, raw_node, node, finish_reason, said FROM call_replies WHERE call = ?
       ORDER BY place`,
    )
    this.body = sqlite.prepare<[number], BodyColumns>(
      'SELECT literal, holes FROM reply_bodies WHERE call = ?',
    )
  }

  /** Null where there is no such call. */
  of(call: number): Buffer | null {
    const row = this.call.get(call)
    if (row === undefined) return null
    return callChecksum(this.hash, row, this.replies.all(call), this.body.get(call) ?? null)
  }
}
