/**
 * Which session a call belongs to, and which call it continues. A session header says the first; otherwise
 * the conversation itself does: a prompt that goes on from a reply that this key was given belongs with it.
 */
import { hashBytes, type KeyedHash } from '../../lib/hash.ts'
import type { Prompt } from './prompt.ts'
import { type RecentCalls, type RecentReply, scopeOf } from './recent-calls.ts'
import type { Placement } from './record.ts'
import type { DeepestReply, Statements } from './statements.ts'

/** How long an equal first request counts as the same one asked again, rather than another agent's. */
const retryWindowMs = 10 * 60 * 1000

export interface PlacingQuestion {
  readonly callId: string
  readonly task: string
  /** What the agent proved itself with; null for nothing. Only its keyed hash is kept. */
  readonly credential: string | null
  /** The value of the session header; null where there is none. */
  readonly sessionHeader: string | null
  readonly prompt: Prompt
  /** Milliseconds since the epoch. */
  readonly at: number
}

type Parent = Placement['parent']

interface Continued {
  session: string
  parent: Parent
}

interface Scope {
  name: string
  /** Its row; undefined before its first call is in the tables. */
  row: number | undefined
}

export class Placing {
  private readonly sql: Statements
  private readonly hash: KeyedHash
  private readonly recent: RecentCalls
  private readonly scopes = new Map<string, number>()

  constructor(sql: Statements, hash: KeyedHash, recent: RecentCalls) {
    this.sql = sql
    this.hash = hash
    this.recent = recent
  }

  place(question: PlacingQuestion): Placement {
    const { task, credential, sessionHeader, callId } = question
    const keyHash = credential === null ? Buffer.alloc(0) : this.hash.of('credential', credential)
    const base = { task, keyHash, label: sessionHeader }
    if (sessionHeader !== null) {
      const session = this.sessionNamed(task, keyHash, sessionHeader)
      return { ...base, session, parent: this.parentIn(session, question.prompt) }
    }
    const scope = this.scope(scopeOf(base), task, keyHash)
    const continued = this.continued(scope, question.prompt) ?? this.askedBefore(scope, question)
    return { ...base, ...(continued ?? { session: callId, parent: null }) }
  }

  /** Rows of scopes never change, so that each is looked up once. */
  private scope(name: string, task: string, keyHash: Buffer): Scope {
    const row = this.scopes.get(name) ?? this.sql.scope(task, keyHash)?.id
    if (row !== undefined) this.scopes.set(name, row)
    return { name, row }
  }

  /** Made from the header, so that calls that arrive together agree on it before either is on record. */
  private sessionNamed(task: string, keyHash: Buffer, header: string): string {
    const key = keyHash.length === 0 ? Buffer.alloc(hashBytes) : keyHash
    return this.hash.of('session', key, `${task}\0${header}`).toString('hex').slice(0, 32)
  }

  private parentIn(session: string, prompt: Prompt): Parent {
    const recent = this.recent.deepestReply('in session', session, prompt)
    if (recent?.depth === prompt.lastReplyDepth) return parentOf(recent)
    const row = this.sql.session(session)?.seq
    const path = pathOf(prompt)
    const stored =
      row === undefined || path === null
        ? undefined
        : this.sql.deepestReplyInSession({ ...path, session: row, sessionId: session })
    return deeper(recent, stored)?.parent ?? null
  }

  private continued(scope: Scope, prompt: Prompt) {
    const recent = this.recent.deepestReply('in scope', scope.name, prompt)
    const path = pathOf(prompt)
    const stored =
      recent?.depth === prompt.lastReplyDepth || scope.row === undefined || path === null
        ? undefined
        : this.sql.deepestReplyInScope({ ...path, scope: scope.row })
    return deeper(recent, stored)
  }

  /** An equal request of a moment ago that nothing has followed: a retry, or another attempt at its answer. */
  private askedBefore(scope: Scope, { prompt, at }: PlacingQuestion): Continued | undefined {
    const recent = this.recent.asked(scope.name, prompt.rawPath.subarray(-hashBytes))
    if (recent !== undefined) {
      if (this.recent.hasContinued(recent.id) || at - recent.startedAt > retryWindowMs) return undefined
      return { session: recent.placement.session, parent: recent.placement.parent }
    }
    if (scope.row === undefined) return undefined
    const stored = this.sql.lastCallOfPrompt(scope.row, prompt.rawPath.subarray(-hashBytes))
    if (stored === undefined || stored.isContinued !== 0 || this.recent.hasContinued(stored.id))
      return undefined
    if (at - stored.startedAt > retryWindowMs) return undefined
    const { parentCall, parentNode } = stored
    const parent = parentCall === null || parentNode === null ? null : { call: parentCall, node: parentNode }
    return { session: stored.session, parent }
  }
}

/** The deeper of the two; of two at one depth the recent one, which is the later call. */
function deeper(recent: RecentReply | undefined, stored: DeepestReply | undefined): Continued | undefined {
  if (recent !== undefined && (stored === undefined || recent.depth >= stored.depth)) {
    return { session: recent.call.placement.session, parent: parentOf(recent) }
  }
  if (stored === undefined) return undefined
  return { session: stored.session, parent: { call: stored.call, node: stored.hash } }
}

function parentOf({ call, node }: RecentReply): Parent {
  return { call: call.id, node: Buffer.from(node) }
}

/** The canonical path up to the last message that a model said; null where none did. */
function pathOf({ canonicalPath, lastReplyDepth }: Prompt): { path: Buffer; count: number } | null {
  return lastReplyDepth === null ? null : { path: canonicalPath, count: lastReplyDepth + 1 }
}
