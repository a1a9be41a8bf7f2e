/** From verdicts to what carries loss: only assistant turns that won their own group and reach the threshold. */
import type {
  ChatMessage,
  DatasetRow,
  Group,
  Trajectory,
  TrajectoryTurn,
  Verdict,
} from '../src/contract/index.ts'
import { noJudge } from './plan.ts'

export interface SelectionInput {
  trajectories: readonly Trajectory[]
  groups: readonly Group[]
  /** Several verdicts of one group (repeats) are averaged. */
  verdicts: readonly Verdict[]
  /** Score that a winner needs, in [0, 1]. */
  threshold: number
  /** Why the reply that `call` gave may not be learnt from (`untrainableReason`), or null when it may. */
  untrainable: (call: string, replyNode: string) => string | null
}

/** Distinct replies, each counted once, except for `duplicates`. */
interface SelectionCounts {
  kept: number
  belowThreshold: number
  lostGroup: number
  untrainable: number
  /** No judge gave them a readable score. */
  unjudged: number
  /** Further paths through a kept reply, in which it is context. */
  duplicates: number
  rows: number
}

export interface Selection {
  rows: DatasetRow[]
  counts: SelectionCounts
}

type Fate = 'kept' | 'belowThreshold' | 'lostGroup' | 'untrainable' | 'unjudged'

/**
 * A reply that may not be learnt from doesn't compete, so it can't keep the next best out. In a group that no
 * judge scored there is no contest: every reply is kept. Rows end at their last turn that carries loss. A reply carries it in one row only: the longest through it, by
 * content among equals. Rows come in the order of their content, so neighbours share prefixes, and the same
 * captures give the same rows whatever their ids and times.
 */
export function selectRows(input: SelectionInput): Selection {
  const fates = fatesOf(input)
  const fateOf = (turn: TrajectoryTurn): Fate => fates.get(turn.replyNode) ?? 'unjudged'
  const candidates = input.trajectories
    .map((trajectory) => ({ trajectory, turns: trajectory.turns.filter((turn) => fateOf(turn) === 'kept') }))
    .flatMap(({ trajectory, turns }) => (turns.length === 0 ? [] : [cut(trajectory, turns)]))
    .toSorted((left, right) => right.messages.length - left.messages.length || byContent(left, right))

  const taken = new Set<string>()
  const rows: (DatasetRow & { content: string })[] = []
  let duplicates = 0
  for (const { trajectory, turns, messages } of candidates) {
    const fresh = turns.filter((turn) => !taken.has(turn.replyNode))
    duplicates += turns.length - fresh.length
    const last = fresh.at(-1)
    if (last === undefined) continue
    for (const turn of fresh) taken.add(turn.replyNode)
    const bearing = new Set(fresh.map((turn) => turn.index))
    const shown = messages.slice(0, last.index + 1)
    const loss = shown.map((_, index) => (bearing.has(index) ? 1 : 0))
    const content = contentOf(trajectory, shown)
    rows.push({ leaf: last.replyNode, messages: shown, tools: trajectory.tools, loss, content })
  }

  const present = new Set(input.trajectories.flatMap((path) => path.turns.map((turn) => turn.replyNode)))
  const counts: SelectionCounts = {
    kept: 0,
    belowThreshold: 0,
    lostGroup: 0,
    untrainable: 0,
    unjudged: 0,
    duplicates,
    rows: rows.length,
  }
  for (const node of present) counts[fates.get(node) ?? 'unjudged'] += 1
  return { rows: rows.toSorted(byContent).map(({ content: _, ...row }) => row), counts }
}

function cut(trajectory: Trajectory, turns: TrajectoryTurn[]) {
  const end = Math.max(...turns.map((turn) => turn.index)) + 1
  const messages = trajectory.messages.slice(0, end)
  return { trajectory, turns, messages, content: contentOf(trajectory, messages) }
}

function contentOf({ tools }: Trajectory, messages: readonly ChatMessage[]): string {
  return JSON.stringify([tools, messages])
}

/** Compares code units, not a locale's order, which differs between machines. */
function byContent(left: { content: string }, right: { content: string }): number {
  return left.content < right.content ? -1 : left.content > right.content ? 1 : 0
}

/** What became of each reply, by reply node. */
function fatesOf({ groups, verdicts, threshold, untrainable }: SelectionInput): Map<string, Fate> {
  const byGroup = Map.groupBy(verdicts, (verdict) => verdict.promptNode)
  const fates = new Map<string, Fate>()
  for (const group of groups) {
    const given = byGroup.get(group.promptNode) ?? []
    const contested = given.every((verdict) => verdict.judge !== noJudge)
    let winner: { node: string; score: number } | undefined
    for (const { replyNode, calls } of group.members) {
      const trainable = calls.some((call) => untrainable(call, replyNode) === null)
      const score = meanScore(given, replyNode)
      if (!trainable) fates.set(replyNode, 'untrainable')
      else if (score === null) fates.set(replyNode, 'unjudged')
      else if (!contested) fates.set(replyNode, score >= threshold ? 'kept' : 'belowThreshold')
      else {
        fates.set(replyNode, 'lostGroup')
        // Members come first captured first, so a tie stays with the first.
        if (winner === undefined || score > winner.score) winner = { node: replyNode, score }
      }
    }
    if (winner !== undefined) fates.set(winner.node, winner.score >= threshold ? 'kept' : 'belowThreshold')
  }
  return fates
}

function meanScore(verdicts: readonly Verdict[], node: string): number | null {
  const scores = verdicts.flatMap((verdict) => verdict.scores[node] ?? [])
  return scores.length === 0 ? null : scores.reduce((sum, score) => sum + score, 0) / scores.length
}
