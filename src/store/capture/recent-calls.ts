/**
 * Calls that are committed to the journal and not yet in the tables: what placing the next call has to know of
 * them. An agent's next call may come a fraction of a millisecond after the reply that it goes on from.
 */
import type { ReplyNodes } from './call-entry.ts'
import { hashAt, type Prompt } from './prompt.ts'
import type { BaseReply, CallRecord, Placement } from './record.ts'

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
  readonly replyNodes: readonly string[]
  readonly replyId: string | null
  /** Raw nodes of the replies, as text: a buffer of 32 bytes would keep the memory that it shares with many others. */
  readonly rawNodes: readonly string[]
}

export class RecentCalls {
  private readonly queue: Entry[] = []
  /** Calls by the canonical nodes of their replies, the latest last. */
  private readonly byReply = new Map<string, Entry[]>()

  add({ id, placement, replyId = null }: CallRecord, replies: readonly ReplyNodes[]): void {
    const replyNodes = replies.map(({ node }) => nameOf(node))
    const entry = { id, placement, replyNodes, replyId, rawNodes: replies.map(({ raw }) => nameOf(raw)) }
    this.queue.push(entry)
    for (const node of entry.replyNodes) {
      const known = this.byReply.get(node)
      if (known === undefined) this.byReply.set(node, [entry])
      else known.push(entry)
    }
  }

  get size(): number {
    return this.queue.length
  }

  /** The tables hold everything up to this call. */
  forgetUpTo(id: string): void {
    const count = this.queue.findIndex((entry) => entry.id === id) + 1
    for (const entry of this.queue.splice(0, count)) {
      for (const node of entry.replyNodes) {
        const others = this.byReply.get(node)?.filter((each) => each !== entry) ?? []
        if (others.length === 0) this.byReply.delete(node)
        else this.byReply.set(node, others)
      }
    }
  }

  /** Of the calls that `isWanted` accepts the one whose reply is the deepest on a canonical path, the latest of several. */
  deepestReply(
    { canonicalPath, lastReplyDepth }: Prompt,
    isWanted: (placement: Placement) => boolean,
  ): RecentReply | undefined {
    if (this.queue.length === 0) return undefined
    for (let depth = lastReplyDepth ?? 0; depth > 0; depth--) {
      const node = hashAt(canonicalPath, depth)
      const call = this.byReply.get(nameOf(node))?.findLast(({ placement }) => isWanted(placement))
      if (call !== undefined) return { depth, node, call }
    }
    return undefined
  }

  /** The first reply of the latest call that `isWanted` accepts. */
  latestReply(isWanted: (placement: Placement, replyId: string | null) => boolean): BaseReply | null {
    const call = this.queue.findLast(
      ({ placement, replyId, replyNodes }) => replyNodes.length > 0 && isWanted(placement, replyId),
    )
    const [raw] = call?.rawNodes ?? []
    const [node] = call?.replyNodes ?? []
    if (call === undefined || raw === undefined || node === undefined) return null
    return { call: call.id, session: call.placement.session, raw: hashNamed(raw), node: hashNamed(node) }
  }

  /** Canonical nodes of a call's replies; null where the call isn't among these. */
  repliesOf(id: string): readonly Buffer[] | null {
    const call = this.queue.findLast((entry) => entry.id === id)
    return call === undefined ? null : call.replyNodes.map(hashNamed)
  }

  hasContinued(id: string): boolean {
    return this.queue.some(({ placement }) => placement.parent?.call === id)
  }
}

/** A key and a task, as one word. */
export function scopeOf({ task, keyHash }: Pick<Placement, 'task' | 'keyHash'>): string {
  return `${task}\0${keyHash.toString('latin1')}`
}

function nameOf(hash: Buffer): string {
  return hash.toString('latin1')
}

function hashNamed(name: string): Buffer {
  return Buffer.from(name, 'latin1')
}
