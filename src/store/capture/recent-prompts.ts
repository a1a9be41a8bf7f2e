/**
 * The prompts of the last minutes, in memory: whether a first request was asked a moment
 * ago is a question that every new conversation raises, and nearly always the answer is no.
 */
import { hashBytes } from '../../lib/hash.ts'
import { Lately } from '../../lib/lately.ts'
import type { Prompt } from './prompt.ts'
import type { Placement } from './record.ts'
import { SeenLately } from './seen-lately.ts'

/** How long an equal first request counts as the same one asked again, rather than another agent's. */
export const retryWindowMs = 10 * 60 * 1000

/** Calls remembered; of those before it is known that they were asked, and the tables say what came of them. */
const capacity = 20_000

export interface AskedPrompt {
  readonly startedAt: number
  readonly session: string
  readonly parent: Placement['parent']
  /** When a call first went on from a reply to it, the last one or one before; null where none did. */
  readonly continuedAt: number | null
}

/** A call that asked a prompt. */
interface Attempt extends Pick<Prompt, 'rawPath'> {
  readonly startedAt: number
  /** See `scopeOf`. */
  readonly scope: string
  readonly session: string
  readonly parent: Placement['parent']
}

/** Equal prompts of one session. */
interface Asked {
  startedAt: number
  readonly session: string
  readonly parent: Placement['parent']
  continuedAt: number | null
}

export class RecentPrompts {
  private readonly byPrompt = new Lately<Asked>(capacity)
  private readonly byCall = new Lately<Asked>(capacity)
  private readonly seen = new SeenLately(retryWindowMs)
  /** Every prompt that was asked after this time (milliseconds since the epoch) was seen. */
  private readonly completeSince: number

  /** @param lastCallAt when the last call began that the tables hold; null where they hold none */
  constructor(lastCallAt: number | null) {
    this.completeSince = lastCallAt ?? 0
  }

  add(id: string, { startedAt, scope, session, parent, rawPath }: Attempt): void {
    const continued = parent === null ? undefined : this.byCall.peek(parent.call)
    if (continued !== undefined) {
      continued.continuedAt = Math.min(continued.continuedAt ?? startedAt, startedAt)
    }
    this.seen.note(lastOf(rawPath), startedAt)
    const name = nameOf(scope, rawPath)
    // Not for longer than its calls are, without which nobody knows whether it was gone on from.
    const known = this.byPrompt.peek(name)
    const asked = known?.session === session ? known : { startedAt, session, parent, continuedAt: null }
    asked.startedAt = startedAt
    if (asked !== known) this.byPrompt.set(name, asked)
    this.byCall.set(id, asked)
  }

  /** How this prompt was asked last; null where it is certain that it wasn't in the window, undefined where not. */
  find(scope: string, rawPath: Buffer, at: number): AskedPrompt | null | undefined {
    const known = this.byPrompt.peek(nameOf(scope, rawPath))
    if (known !== undefined) return known
    return this.completeSince < at - retryWindowMs && !this.seen.has(lastOf(rawPath)) ? null : undefined
  }

  /** From now on the tables are asked for what was before. */
  forgetAll(): void {
    this.byPrompt.clear()
    this.byCall.clear()
  }
}

/** A key and a task, as one word. */
export function scopeOf({ task, keyHash }: { task: string; keyHash: Buffer }): string {
  return `${task}\0${keyHash.toString('latin1')}`
}

function nameOf(scope: string, rawPath: Buffer): string {
  return lastOf(rawPath).toString('latin1') + scope
}

/** The hash of the whole prompt. */
function lastOf(rawPath: Buffer): Buffer {
  return rawPath.subarray(rawPath.length - hashBytes)
}
