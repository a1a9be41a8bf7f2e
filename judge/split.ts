/** The split comes first: which sessions training may see, and which calls judge what it made of them. */
import type { CapturedCall, TaskConfig } from '../src/contract/index.ts'

/** What the split looks at; nothing of a call's content. */
export type SplitCall = Pick<CapturedCall, 'id' | 'session' | 'startedAt' | 'promptNode'>

export interface Split {
  /** In the order of their first calls. */
  trainSessions: string[]
  /** In the order of their first calls; a session whose every call was dropped is not among them. */
  heldOutSessions: string[]
  /** Ids of the calls to evaluate on, oldest first. */
  heldOutCalls: string[]
  /** Calls of the newest sessions whose prompt training saw too, oldest first. */
  dropped: { call: string; session: string; promptNode: string }[]
}

/**
 * Holds out the newest sessions by their first call: a share of them, or a number where `holdOut.sessions` is set.
 * A session that began before the cut trains as a whole, later calls included, and any held-out call whose prompt
 * training has seen is dropped. Of two sessions or more at least one lands on each side; a lone session trains.
 * The result depends on the calls only, not on their order.
 */
export function splitSessions(calls: readonly SplitCall[], holdOut: TaskConfig['holdOut']): Split {
  const ordered = calls.toSorted(byTime)
  const sessions = [...new Set(ordered.map((call) => call.session))]
  const wanted = holdOut.sessions ?? Math.max(1, Math.round(sessions.length * holdOut.fraction))
  const held = Math.min(wanted, sessions.length - 1)
  const trainSessions = sessions.slice(0, Math.max(0, sessions.length - held))
  const training = new Set(trainSessions)
  const seenPrompts = new Set(
    ordered.filter((call) => training.has(call.session)).map((call) => call.promptNode),
  )

  const candidates = ordered.filter((call) => !training.has(call.session))
  const kept = candidates.filter((call) => !seenPrompts.has(call.promptNode))
  const dropped = candidates.filter((call) => seenPrompts.has(call.promptNode))
  const remaining = new Set(kept.map((call) => call.session))
  return {
    trainSessions,
    heldOutSessions: sessions.filter((session) => remaining.has(session)),
    heldOutCalls: kept.map((call) => call.id),
    dropped: dropped.map(({ id, session, promptNode }) => ({ call: id, session, promptNode })),
  }
}

/** Ids break ties, so that calls of one millisecond always come in the same order. */
function byTime(left: SplitCall, right: SplitCall): number {
  return left.startedAt - right.startedAt || (left.id < right.id ? -1 : left.id > right.id ? 1 : 0)
}
