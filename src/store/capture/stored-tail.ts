/** How a session went on, as the tables know it: what a server that was started anew has not seen itself. */
import type SqliteDatabase from 'better-sqlite3'
import { textOf } from '../../contract/index.ts'
import { type MessageReader, MessageTree } from './message-tree.ts'
import { callsAtMost, type Said, type StoredTail } from './session-tails.ts'
import type { Statements, TailRow } from './statements.ts'

export function storedTail(
  sqlite: SqliteDatabase.Database,
  sql: Statements,
  readers: readonly MessageReader[],
  session: string,
): StoredTail {
  const row = sql.session.get(session)
  const replies = row === undefined ? [] : sql.tailOfSession.all(row.seq, callsAtMost)
  const byCall = new Map<string, Said & { texts: string[] }>()
  for (const { call, agent, said } of replies) {
    const known = byCall.get(call) ?? { call, agent, texts: [] }
    known.texts.push(said.toString('latin1'))
    byCall.set(call, known)
  }
  const [latest] = replies
  return {
    said: [...byCall.values()].toReversed(),
    lastText: latest === undefined ? null : textIn(sqlite, readers, latest),
  }
}

function textIn(
  sqlite: SqliteDatabase.Database,
  readers: readonly MessageReader[],
  { rawNode, dialect }: TailRow,
): string | null {
  try {
    return textOf(new MessageTree(sqlite, readers).messageAt(rawNode, dialect))
  } catch {
    // A dialect that is no longer known; without the text a summary is not recognised, and nothing else.
    return null
  }
}
