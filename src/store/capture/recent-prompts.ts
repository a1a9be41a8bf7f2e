/**
 * The prompts of the last minutes, in memory, those under way among them: whether a first request was asked a moment
 * ago is a question that every new conversation raises, and nearly always the answer is no.
 */
import { hashBytes } from '../../lib/hash.ts'
import { scopeOf } from './recent-calls.ts'
import type { Prompt } from './prompt.ts'
import type { Placement } from './record.ts'

/** How long an equal first request counts as the same one asked again, rather than another agent's. */
export const retryWindowMs = 10 * 60 * 1000

/** Calls remembered; beyond them the tables are asked. */
const capacity = 20_000

export interface AskedPrompt {
  readonly startedAt: number
  readonly session: string
  readonly parent: Placement['parent']
  /** Whether a reply to it, the last one or one before, was gone on from. */
  readonly isContinued: boolean
}

/** Equal prompts of one session. */
interface Asked {
  startedAt: number
  readonly session: string
  readonly parent: Placement['parent']
  isContinued: boolean
  readonly calls: string[]
}

/** Attempts at one prompt that are told apart from those of others. */
const attemptsAtMost = 256

export class RecentPrompts {
  /** By the prompt that was asked last, the oldest first. */
  private readonly byPrompt = new Map<string, Asked>()
  private readonly byCall = new Map<string, Asked>()
  /** Every prompt that was asked after this time (milliseconds since the epoch) is remembered. */
  private completeSince: number

  /** @param lastCallAt when the last call began that the tables hold; null where they hold none */
  constructor(lastCallAt: number | null) {
    this.completeSince = lastCallAt ?? 0
  }

  add(id: string, startedAt: number, placement: Placement, prompt: Pick<Prompt, 'rawPath'>): void {
    const { session, parent } = placement
    const continued = parent === null ? undefined : this.byCall.get(parent.call)
    if (continued !== undefined) continued.isContinued = true
    const name = nameOf(scopeOf(placement), prompt.rawPath)
    const asked = this.take(name, session) ?? { startedAt, session, parent, isContinued: false, calls: [] }
    asked.startedAt = startedAt
    asked.calls.push(id)
    this.byPrompt.set(name, asked)
    this.byCall.set(id, asked)
    for (const [oldest, each] of this.byPrompt) {
      const isOld = each.startedAt < startedAt - retryWindowMs
      if (!isOld && this.byCall.size <= capacity) break
      if (!isOld) this.completeSince = Math.max(this.completeSince, each.startedAt)
      this.forget(oldest, each)
    }
  }

  /** How this prompt was asked last; null where it is certain that it wasn't in the window, undefined where not. */
  find(scope: string, rawPath: Buffer, at: number): AskedPrompt | null | undefined {
    return (
      this.byPrompt.get(nameOf(scope, rawPath)) ??
      (this.completeSince < at - retryWindowMs ? null : undefined)
    )
  }

  /** From now on the tables are asked for what was before. */
  forgetAll(now: number): void {
    this.byPrompt.clear()
    this.byCall.clear()
    this.completeSince = now
  }

  /** What is known of the prompt in this session; undefined where it is another's, which is then forgotten. */
  private take(name: string, session: string): Asked | undefined {
    const known = this.byPrompt.get(name)
    if (known === undefined) return undefined
    if (known.session !== session || known.calls.length >= attemptsAtMost) {
      this.forget(name, known)
      return undefined
    }
    this.byPrompt.delete(name)
    return known
  }

  private forget(name: string, { calls }: Asked): void {
    this.byPrompt.delete(name)
    for (const call of calls) this.byCall.delete(call)
  }
}

function nameOf(scope: string, rawPath: Buffer): string {
  return rawPath.toString('latin1', rawPath.length - hashBytes) + scope
}
