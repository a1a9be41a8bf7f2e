/**
 * Calls that are committed to the journal and not yet in the tables: what placing the next call has to know of
 * them. An agent's next call may come a fraction of a millisecond after the reply that it goes on from.
 */
import { hashAt, type Prompt } from './prompt.ts'
import type { CallRecord, Placement } from './record.ts'

export interface RecentCall {
  readonly id: string
  readonly placement: Placement
}

/** A reply that a prompt goes on from. */
export interface RecentReply {
  /** How far down the prompt it stands. */
  readonly depth: number
  readonly node: Buffer
  readonly call: RecentCall
}

interface Entry extends RecentCall {
  readonly names: readonly string[]
}

export class RecentCalls {
  private readonly queue: Entry[] = []
  /** The latest call by what it can be found by. */
  private readonly byName = new Map<string, Entry>()

  add({ id, placement }: CallRecord, replyNodes: readonly Buffer[]): void {
    const scope = scopeOf(placement)
    const names: string[] = []
    for (const node of replyNodes) {
      names.push(nameOf('in scope', scope, node), nameOf('in session', placement.session, node))
    }
    if (placement.parent !== null) names.push(`continued ${placement.parent.call}`)
    const entry = { id, placement, names }
    this.queue.push(entry)
    for (const name of names) this.byName.set(name, entry)
  }

  /** The tables hold everything up to this call. */
  forgetUpTo(id: string): void {
    const count = this.queue.findIndex((entry) => entry.id === id) + 1
    for (const entry of this.queue.splice(0, count)) {
      for (const name of entry.names) if (this.byName.get(name) === entry) this.byName.delete(name)
    }
  }

  /** The latest call whose reply is the deepest on a canonical path. */
  deepestReply(
    kind: 'in scope' | 'in session',
    where: string,
    { canonicalPath, lastReplyDepth }: Prompt,
  ): RecentReply | undefined {
    if (this.queue.length === 0) return undefined
    for (let depth = lastReplyDepth ?? 0; depth > 0; depth--) {
      const node = hashAt(canonicalPath, depth)
      const call = this.byName.get(nameOf(kind, where, node))
      if (call !== undefined) return { depth, node, call }
    }
    return undefined
  }

  hasContinued(id: string): boolean {
    return this.byName.has(`continued ${id}`)
  }
}

/** A key and a task, as one word. */
export function scopeOf({ task, keyHash }: Pick<Placement, 'task' | 'keyHash'>): string {
  return `${task}\0${keyHash.toString('latin1')}`
}

function nameOf(kind: string, where: string, hash: Buffer): string {
  return `${kind}\0${hash.toString('latin1')}${where}`
}
