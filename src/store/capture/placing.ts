/**
 * Which session a call belongs to, and which call it continues. A session header says the first; otherwise
 * the conversation itself does: a prompt that goes on from a reply that this key was given belongs with it.
 */
import { hashBytes, type KeyedHash } from '../../lib/hash.ts'
import type { Prompt } from './prompt.ts'
import { type RecentCalls, scopeOf } from './recent-calls.ts'
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

export class Placing {
  private readonly sql: Statements
  private readonly hash: KeyedHash
  private readonly recent: RecentCalls

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
    const scope = { name: scopeOf(base), row: this.sql.scope(task, keyHash)?.id }
    const continued = this.continued(scope, question.prompt) ?? this.askedBefore(scope, question)
    return { ...base, ...(continued ?? { session: callId, parent: null }) }
  }

  /** Made from the header, so that calls that arrive together agree on it before either is on record. */
  private sessionNamed(task: string, keyHash: Buffer, header: string): string {
    const key = keyHash.length === 0 ? Buffer.alloc(hashBytes) : keyHash
    return this.hash.of('session', key, `${task}\0${header}`).toString('hex').slice(0, 32)
  }

  private parentIn(session: string, prompt: Prompt): Parent {
    const recent = this.recent.deepestReply('in session', session, prompt.canonicalPath)
    const row = this.sql.session(session)?.seq
    const stored =
      row === undefined ? undefined : this.sql.deepestReplyInSession({ ...pathOf(prompt), session: row })
    return this.deeper(recent, stored)?.parent ?? null
  }

  private continued(scope: { name: string; row: number | undefined }, prompt: Prompt) {
    const recent = this.recent.deepestReply('in scope', scope.name, prompt.canonicalPath)
    const stored =
      scope.row === undefined
        ? undefined
        : this.sql.deepestReplyInScope({ ...pathOf(prompt), scope: scope.row })
    return this.deeper(recent, stored)
  }

  /** The deeper of the two; of two at one depth the recent one, which is the later call. */
  private deeper(
    recent: ReturnType<RecentCalls['deepestReply']>,
    stored: DeepestReply | undefined,
  ): { session: string; parent: Parent } | undefined {
    if (recent !== undefined && (stored === undefined || recent.depth >= stored.depth)) {
      const { call, node } = recent
      return { session: call.placement.session, parent: { call: call.id, node: Buffer.from(node) } }
    }
    const found = stored === undefined ? undefined : this.sql.callAndSession(stored.call)
    if (found === undefined || stored === undefined) return undefined
    return { session: found.session, parent: { call: found.id, node: stored.hash } }
  }

  /** An equal request of a moment ago that nothing has followed: a retry, or another attempt at its answer. */
  private askedBefore(
    scope: { name: string; row: number | undefined },
    { prompt, at }: PlacingQuestion,
  ): { session: string; parent: Parent } | undefined {
    const recent = this.recent.asked(scope.name, prompt.rawPath.subarray(-hashBytes))
    if (recent !== undefined) {
      if (this.recent.hasContinued(recent.id) || at - recent.startedAt > retryWindowMs) return undefined
      return { session: recent.placement.session, parent: recent.placement.parent }
    }
    const node = scope.row === undefined ? undefined : this.sql.rawNode(prompt.rawPath.subarray(-hashBytes))
    if (scope.row === undefined || node === undefined) return undefined
    const stored = this.sql.lastCallOfPrompt(scope.row, node.id)
    if (stored === undefined || stored.isContinued !== 0 || this.recent.hasContinued(stored.id))
      return undefined
    if (at - stored.startedAt > retryWindowMs) return undefined
    const { parentCall, parentNode } = stored
    const parent = parentCall === null || parentNode === null ? null : { call: parentCall, node: parentNode }
    return { session: stored.session, parent }
  }
}

function pathOf(prompt: Prompt): { path: Buffer; count: number } {
  return { path: prompt.canonicalPath, count: prompt.canonicalPath.length / hashBytes }
}
