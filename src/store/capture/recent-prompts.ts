/**
 * The prompts of the last minutes, in memory: whether a first request was asked a moment ago is a question that
 * every new conversation raises, and nearly always the answer is no.
 */
import { hashBytes } from '../../lib/hash.ts'
import { scopeOf } from './recent-calls.ts'
import type { CallRecord, Placement } from './record.ts'

/** How long an equal first request counts as the same one asked again, rather than another agent's. */
export const retryWindowMs = 10 * 60 * 1000

/** Prompts remembered; beyond them the tables are asked. */
const capacity = 20_000

export interface AskedPrompt {
  readonly id: string
  readonly startedAt: number
  readonly session: string
  readonly parent: Placement['parent']
  isContinued: boolean
}

export class RecentPrompts {
  /** The latest call of each prompt, the oldest first. */
  private readonly byPrompt = new Map<string, AskedPrompt>()
  private readonly byId = new Map<string, AskedPrompt>()
  /** Every prompt that was asked after this time (milliseconds since the epoch) is remembered. */
  private completeSince: number

  /** @param lastCallAt when the last call began that the tables hold; null where they hold none */
  constructor(lastCallAt: number | null) {
    this.completeSince = lastCallAt ?? 0
  }

  add({ id, startedAt, placement, prompt }: CallRecord): void {
    const { session, parent } = placement
    const continued = parent === null ? undefined : this.byId.get(parent.call)
    if (continued !== undefined) continued.isContinued = true
    const name = nameOf(scopeOf(placement), prompt.rawPath)
    const entry = { id, startedAt, session, parent, isContinued: false }
    this.forget(name)
    this.byPrompt.set(name, entry)
    this.byId.set(id, entry)
    for (const [oldest, { startedAt: askedAt }] of this.byPrompt) {
      const isOld = askedAt < startedAt - retryWindowMs
      if (!isOld && this.byPrompt.size <= capacity) break
      if (!isOld) this.completeSince = Math.max(this.completeSince, askedAt)
      this.forget(oldest)
    }
  }

  /** The last call with this prompt; null where it is certain that there was none in the window, undefined where not. */
  find(scope: string, rawPath: Buffer, at: number): AskedPrompt | null | undefined {
    return (
      this.byPrompt.get(nameOf(scope, rawPath)) ??
      (this.completeSince < at - retryWindowMs ? null : undefined)
    )
  }

  /** From now on the tables are asked for what was before. */
  forgetAll(now: number): void {
    this.byPrompt.clear()
    this.byId.clear()
    this.completeSince = now
  }

  private forget(name: string): void {
    const entry = this.byPrompt.get(name)
    if (entry === undefined) return
    this.byPrompt.delete(name)
    this.byId.delete(entry.id)
  }
}

function nameOf(scope: string, rawPath: Buffer): string {
  return rawPath.toString('latin1', rawPath.length - hashBytes) + scope
}
