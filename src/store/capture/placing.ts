/**
 * Which session a call belongs to, and which call it continues. A session header says the first; otherwise
 * the conversation itself does: a prompt that goes on from a reply that this key was given belongs with it.
 */
import { hashBytes, type KeyedHash } from '../../lib/hash.ts'
import type { Prompt } from './prompt.ts'
import type { Placement } from './record.ts'
import type { Statements } from './statements.ts'

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

export function placeCall(sql: Statements, hash: KeyedHash, question: PlacingQuestion): Placement {
  const { task, credential, sessionHeader, callId } = question
  const keyHash = credential === null ? Buffer.alloc(0) : hash.of('credential', credential)
  const base = { task, keyHash, label: sessionHeader }
  const scope = sql.scope(task, keyHash)?.id
  if (sessionHeader !== null) {
    // Made from the header, so that calls that arrive together agree on it before either is written.
    const key = credential === null ? Buffer.alloc(hashBytes) : keyHash
    const session = hash.of('session', key, `${task}\0${sessionHeader}`).toString('hex').slice(0, 32)
    const row = sql.session(session)?.seq
    const parent =
      row === undefined ? undefined : sql.deepestReplyInSession({ ...pathOf(question), session: row })
    return { ...base, session, parent: parent?.call ?? null, parentNode: parent?.node ?? null }
  }
  if (scope === undefined) return { ...base, session: callId, parent: null, parentNode: null }
  const continued = sql.deepestReplyInScope({ ...pathOf(question), scope })
  if (continued !== undefined) {
    const parent = sql.callWithSession(continued.call)
    if (parent !== undefined)
      return { ...base, session: parent.session, parent: parent.seq, parentNode: continued.node }
  }
  const asked = askedBefore(sql, question, scope)
  return {
    ...base,
    session: asked?.session ?? callId,
    parent: asked?.parent ?? null,
    parentNode: asked?.parentNode ?? null,
  }
}

function pathOf({ prompt }: PlacingQuestion): { path: Buffer; count: number } {
  return { path: prompt.canonicalPath, count: prompt.canonicalPath.length / hashBytes }
}

/** An equal request of a moment ago that nothing has followed: a retry, or another attempt at its answer. */
function askedBefore(sql: Statements, { prompt, at }: PlacingQuestion, scope: number) {
  const count = prompt.rawPath.length / hashBytes
  const known = sql.longestKnownPrompt({ path: prompt.rawPath, count })
  if (known === undefined || known.depth !== count - 1) return undefined
  const earlier = sql.lastCallOfPrompt(scope, known.id)
  if (earlier === undefined || earlier.continued !== 0 || at - earlier.startedAt > retryWindowMs)
    return undefined
  return earlier
}
