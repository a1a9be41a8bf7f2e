/**
 * Which session a call belongs to, and which call it continues. A session header says the first; otherwise
 * the conversation itself does: a prompt that goes on from a reply that this key was given belongs with it.
 */
import { hashBytes, type KeyedHash } from '../../lib/hash.ts'
import { Lately } from '../../lib/lately.ts'
import { hashAt, type Prompt } from './prompt.ts'
import { type RecentCalls, type RecentReply, scopeOf } from './recent-calls.ts'
import { type AskedPrompt, type RecentPrompts, retryWindowMs } from './recent-prompts.ts'
import type { BaseReply, Placement } from './record.ts'
import type { SessionTails } from './session-tails.ts'
import type { DeepestReply, Statements } from './statements.ts'

export interface PlacingQuestion {
  readonly callId: string
  readonly task: string
  /** What the agent proved itself with; null for nothing. Only its keyed hash is kept. */
  readonly credential: string | null
  /** The value of the session header; null where there is none. */
  readonly sessionHeader: string | null
  /** What is kept of it, where that is less than all. */
  readonly label?: string | null
  readonly prompt: Prompt
  /** The reply that the prompt goes on from, where the upstream keeps what came before. */
  readonly base?: BaseReply | null
  readonly agent?: string | null
  readonly parentAgent?: string | null
  /** Where it is known already. */
  readonly session?: string | null
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** Which conversation an upstream is asked to go on with. */
export interface BaseQuestion {
  readonly task: string
  readonly credential: string | null
  /** By the id of its last reply, or by its own name, which is then the session's. */
  readonly from: { readonly reply: string } | { readonly conversation: string }
}

type Parent = Placement['parent']

interface Continued {
  session: string
  parent: Parent
  /** How far down the prompt the reply stands. */
  depth: number
}

interface Scope {
  task: string
  keyHash: Buffer
  /** Both as one word. */
  name: string
  /** Its row; undefined before its first call is in the tables. */
  row: number | undefined
}

const noKey = Buffer.alloc(0)

/** Credentials whose hashes are remembered. */
const keysAtMost = 1000

export class Placing {
  private readonly sql: Statements
  private readonly hash: KeyedHash
  private readonly recent: RecentCalls
  private readonly prompts: RecentPrompts
  private readonly tails: SessionTails
  private readonly scopes = new Map<string, number>()
  private readonly keyHashes = new Lately<Buffer>(keysAtMost)

  constructor(
    sql: Statements,
    hash: KeyedHash,
    recent: RecentCalls,
    prompts: RecentPrompts,
    tails: SessionTails,
  ) {
    this.sql = sql
    this.hash = hash
    this.recent = recent
    this.prompts = prompts
    this.tails = tails
  }

  /** From now on the call is known to have been asked, so that one that comes while it is under way finds it. */
  place(question: PlacingQuestion): Placement {
    const found = this.placementOf(question)
    const placement = { ...found, session: question.session ?? found.session }
    this.prompts.add(question.callId, question.at, placement, question.prompt)
    return placement
  }

  private placementOf(question: PlacingQuestion): Placement {
    const { task, credential, sessionHeader, callId, prompt, agent = null } = question
    const keyHash = this.keyHash(credential)
    const { parentAgent = null, base: goesOnFrom = null } = question
    const base = { task, keyHash, label: question.label ?? sessionHeader, agent, parentAgent }
    if (goesOnFrom !== null) {
      const session =
        sessionHeader === null ? goesOnFrom.session : this.sessionNamed(task, keyHash, sessionHeader)
      return { ...base, session, parent: { call: goesOnFrom.call, node: goesOnFrom.node } }
    }
    if (sessionHeader !== null) {
      const session = this.sessionNamed(task, keyHash, sessionHeader)
      const found = this.parentIn(session, prompt)
      const isWhole = found !== null && found.depth === prompt.lastReplyDepth
      return {
        ...base,
        session,
        parent: found?.parent ?? null,
        continues: isWhole ? null : this.tails.continuedBy(session, prompt, agent, found?.depth ?? 0),
      }
    }
    const scope = this.scope(task, keyHash)
    const continued = this.continued(scope, prompt) ?? this.askedBefore(scope, question)
    const { session, parent } = continued ?? { session: callId, parent: null }
    return { ...base, session, parent }
  }

  baseOf({ task, credential, from }: BaseQuestion): BaseReply | null {
    const keyHash = this.keyHash(credential)
    if ('conversation' in from) {
      const session = this.sessionNamed(task, keyHash, from.conversation)
      const recent = this.recent.latestReply((placement) => placement.session === session)
      const row = recent === null ? this.sql.session.get(session)?.seq : undefined
      return recent ?? (row === undefined ? null : (this.sql.latestReplyInSession.get(row) ?? null))
    }
    const recent = this.recent.latestReply(
      (placement, replyId) =>
        replyId === from.reply && placement.task === task && placement.keyHash.equals(keyHash),
    )
    const row = recent === null ? this.scope(task, keyHash).row : undefined
    return recent ?? (row === undefined ? null : (this.sql.replyNamed.get(row, from.reply) ?? null))
  }

  /** The reply of a known call that a prompt goes on from; its first one where none is in the prompt. */
  parentNamed(call: string, { canonicalPath }: Prompt): Parent {
    const replies = this.recent.repliesOf(call) ?? this.sql.repliesOfCall.all(call).map(({ hash }) => hash)
    const depthOf = (node: Buffer): number => {
      let depth = canonicalPath.length / hashBytes - 1
      while (depth > 0 && !hashAt(canonicalPath, depth).equals(node)) depth--
      return depth
    }
    const [first, ...others] = replies
    if (first === undefined) return null
    const node = others.reduce((best, each) => (depthOf(each) > depthOf(best) ? each : best), first)
    return { call, node }
  }

  /** After a deletion, which may have freed their rows for others. */
  forgetScopes(): void {
    this.scopes.clear()
  }

  private keyHash(credential: string | null): Buffer {
    if (credential === null) return noKey
    const known = this.keyHashes.get(credential)
    if (known !== undefined) return known
    const hash = this.hash.of('credential', credential)
    this.keyHashes.set(credential, hash)
    return hash
  }

  /** Rows of scopes never change but by deletion, so that each is looked up once. */
  private scope(task: string, keyHash: Buffer): Scope {
    const name = scopeOf({ task, keyHash })
    const row = this.scopes.get(name) ?? this.sql.scope.get(task, keyHash)?.id
    if (row !== undefined) this.scopes.set(name, row)
    return { task, keyHash, name, row }
  }

  /** Made from the header, so that calls that arrive together agree on it before either is on record. */
  private sessionNamed(task: string, keyHash: Buffer, header: string): string {
    const key = keyHash.length === 0 ? Buffer.alloc(hashBytes) : keyHash
    return this.hash.of('session', key, `${task}\0${header}`).toString('hex').slice(0, 32)
  }

  private parentIn(session: string, prompt: Prompt): Continued | null {
    const recent = this.recent.deepestReply(prompt, (placement) => placement.session === session)
    if (recent?.depth === prompt.lastReplyDepth) return this.deeper(recent, undefined) ?? null
    const row = this.sql.session.get(session)?.seq
    const path = pathOf(prompt)
    const stored =
      row === undefined || path === null
        ? undefined
        : this.sql.deepestReplyInSession.get({ ...path, session: row })
    return this.deeper(recent, stored) ?? null
  }

  private continued(scope: Scope, prompt: Prompt) {
    const recent = this.recent.deepestReply(
      prompt,
      ({ task, keyHash }) => task === scope.task && keyHash.equals(scope.keyHash),
    )
    const path = pathOf(prompt)
    const stored =
      recent?.depth === prompt.lastReplyDepth || scope.row === undefined || path === null
        ? undefined
        : this.sql.deepestReplyInScope.get({ ...path, scope: scope.row })
    return this.deeper(recent, stored)
  }

  /** The deeper of the two; of two at one depth the recent one, which is the later call. */
  private deeper(recent: RecentReply | undefined, stored: DeepestReply | undefined): Continued | undefined {
    if (recent !== undefined && (stored === undefined || recent.depth >= stored.depth)) {
      return { session: recent.call.placement.session, parent: parentOf(recent), depth: recent.depth }
    }
    const call = stored === undefined ? undefined : this.sql.callAndSession.get(stored.call)
    if (stored === undefined || call === undefined) return undefined
    return { session: call.session, parent: { call: call.id, node: stored.hash }, depth: stored.depth }
  }

  /** An equal request of a moment ago that nothing has followed: a retry, or another attempt at its answer. */
  private askedBefore(
    scope: Scope,
    { prompt, at }: PlacingQuestion,
  ): Pick<Continued, 'session' | 'parent'> | undefined {
    const asked = this.prompts.find(scope.name, prompt.rawPath, at)
    const found = asked === undefined ? this.askedInTables(scope, prompt) : asked
    if (found === null || found.isContinued || at - found.startedAt > retryWindowMs) return undefined
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
      isContinued: row.isContinued !== 0 || this.recent.hasContinued(row.id),
    }
  }
}

function parentOf({ call, node }: RecentReply): Parent {
  return { call: call.id, node: Buffer.from(node) }
}

/** The canonical path up to the last message that a model said; null where none did. */
function pathOf({ canonicalPath, lastReplyDepth }: Prompt): { path: Buffer; count: number } | null {
  return lastReplyDepth === null ? null : { path: canonicalPath, count: lastReplyDepth + 1 }
}
