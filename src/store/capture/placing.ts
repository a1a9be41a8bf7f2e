/**
 * Which session a call belongs to, and which call it continues, by what is in the tables. A name says the first; otherwise
 * the conversation itself does: a prompt that goes on from a reply that this key was given belongs with it.
 */
import { hashBytes } from '../../lib/hash.ts'
import { hashAt, type Prompt } from './prompt.ts'
import { type AskedPrompt, type RecentPrompts, retryWindowMs, scopeOf } from './recent-prompts.ts'
import type { BaseReply, Placement } from './record.ts'
import type { SessionTails } from './session-tails.ts'
import type { DeepestReply, Statements } from './statements.ts'

export interface PlacingQuestion {
  readonly callId: string
  readonly task: string
  /** Of what the agent proved itself with; empty for nothing. */
  readonly keyHash: Buffer
  /** The session that the agent's name for it stands for; null where it names none. */
  readonly namedSession: string | null
  readonly prompt: Prompt
  /** The reply that the prompt goes on from, where the upstream keeps what came before. */
  readonly base: BaseReply | null
  readonly agent: string | null
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** Which conversation an upstream was asked to go on with. */
export interface BaseQuestion {
  readonly task: string
  readonly keyHash: Buffer
  readonly from: { readonly reply: string } | { readonly session: string }
}

type Parent = Placement['parent']

interface Continued {
  readonly session: string
  readonly parent: Parent
  /** How far down the prompt the reply stands. */
  readonly depth: number
}

interface Scope {
  /** A key and a task, as one word. */
  readonly name: string
  /** Its row; undefined before its first call is in the tables. */
  readonly row: number | undefined
}

export class Placing {
  private readonly sql: Statements
  private readonly prompts: RecentPrompts
  private readonly tails: SessionTails
  private readonly scopes = new Map<string, number>()

  constructor(sql: Statements, prompts: RecentPrompts, tails: SessionTails) {
    this.sql = sql
    this.prompts = prompts
    this.tails = tails
  }

  place({ callId, task, keyHash, namedSession, prompt, base, agent, at }: PlacingQuestion): Placement {
    if (base !== null) {
      const parent = { call: base.call, node: base.node }
      return { session: namedSession ?? base.session, parent, continues: null }
    }
    if (namedSession !== null) {
      const found = this.parentIn(namedSession, prompt)
      const isWhole = found !== null && found.depth === prompt.lastReplyDepth
      return {
        session: namedSession,
        parent: found?.parent ?? null,
        continues: isWhole ? null : this.tails.continuedBy(namedSession, prompt, agent, found?.depth ?? 0),
      }
    }
    const scope = this.scope(task, keyHash)
    const continued = this.continued(scope, prompt) ?? this.askedBefore(scope, prompt, at)
    const { session, parent } = continued ?? { session: callId, parent: null }
    return { session, parent, continues: null }
  }

  /** The reply that a request goes on from whose upstream keeps the conversation; null where it isn't known. */
  baseOf({ task, keyHash, from }: BaseQuestion): BaseReply | null {
    if ('session' in from) {
      const row = this.sql.session.get(from.session)?.seq
      return row === undefined ? null : (this.sql.latestReplyInSession.get(row) ?? null)
    }
    const { row } = this.scope(task, keyHash)
    return row === undefined ? null : (this.sql.replyNamed.get(row, from.reply) ?? null)
  }

  /** The reply of a known call that a prompt goes on from; its first one where none is in the prompt. */
  parentNamed(call: string, { canonicalPath }: Prompt): Parent {
    const depthOf = (node: Buffer): number => {
      let depth = canonicalPath.length / hashBytes - 1
      while (depth > 0 && !hashAt(canonicalPath, depth).equals(node)) depth--
      return depth
    }
    const [first, ...others] = this.sql.repliesOfCall.all(call).map(({ hash }) => hash)
    if (first === undefined) return null
    const node = others.reduce((best, each) => (depthOf(each) > depthOf(best) ? each : best), first)
    return { call, node }
  }

  /** After a deletion, which may have freed their rows for others. */
  forgetScopes(): void {
    this.scopes.clear()
  }

  /** Rows of scopes never change but by deletion, so that each is looked up once. */
  private scope(task: string, keyHash: Buffer): Scope {
    const name = scopeOf({ task, keyHash })
    const row = this.scopes.get(name) ?? this.sql.scope.get(task, keyHash)?.id
    if (row !== undefined) this.scopes.set(name, row)
    return { name, row }
  }

  private parentIn(session: string, prompt: Prompt): Continued | null {
    const row = this.sql.session.get(session)?.seq
    const path = pathOf(prompt)
    if (row === undefined || path === null) return null
    return this.continuedAt(this.sql.deepestReplyInSession.get({ ...path, session: row }))
  }

  private continued({ row }: Scope, prompt: Prompt): Continued | null {
    const path = pathOf(prompt)
    if (row === undefined || path === null) return null
    return this.continuedAt(this.sql.deepestReplyInScope.get({ ...path, scope: row }))
  }

  private continuedAt(reply: DeepestReply | undefined): Continued | null {
    const call = reply === undefined ? undefined : this.sql.callAndSession.get(reply.call)
    if (reply === undefined || call === undefined) return null
    return { session: call.session, parent: { call: call.id, node: reply.hash }, depth: reply.depth }
  }

  /**
   * An equal request of a moment ago that nothing had followed when this one came: a retry, or another attempt at its
   * answer. A slow one may be committed only after another attempt was gone on from.
   */
  private askedBefore(
    scope: Scope,
    prompt: Prompt,
    at: number,
  ): Pick<Continued, 'session' | 'parent'> | null {
    const asked = this.prompts.find(scope.name, prompt.rawPath, at)
    const found = asked === undefined ? this.askedInTables(scope, prompt) : asked
    if (found === null || at - found.startedAt > retryWindowMs) return null
    if (found.continuedAt !== null && found.continuedAt <= at) return null
    return { session: found.session, parent: found.parent }
  }

  private askedInTables(scope: Scope, prompt: Prompt): AskedPrompt | null {
    if (scope.row === undefined) return null
    const node = this.sql.rawNode.get(prompt.rawPath.subarray(-hashBytes))
    const row = node === undefined ? undefined : this.sql.lastCallOfPrompt.get(scope.row, node.id)
    if (row === undefined) return null
    const { parentCall, parentNode } = row
    return {
      ...row,
      parent: parentCall === null || parentNode === null ? null : { call: parentCall, node: parentNode },
    }
  }
}

/** The canonical path up to the last message that a model said; null where none did. */
function pathOf({ canonicalPath, lastReplyDepth }: Prompt): { path: Buffer; count: number } | null {
  return lastReplyDepth === null ? null : { path: canonicalPath, count: lastReplyDepth + 1 }
}
