/**
 * The conversations of late, message by message: an agent sends its whole history with every call, and what was parsed
 * and hashed of it once is found again by its bytes.
 */
import { crc32 } from 'node:zlib'
import type { CanonicalWalk } from '../../dialects/index.ts'

/** A message as it came, and what it means at its place (see the dialects). */
export interface PromptMessage {
  readonly bytes: Uint8Array
  /** One line for each message that it stands for. */
  readonly canonicalText: string
  /** Whether it belongs to the canonical root. */
  readonly isRoot: boolean
  /** Whether a model said it, so that an earlier call may be the one that is continued here. */
  readonly isReply: boolean
}

/** A conversation up to one of its messages. */
export interface Prefix {
  readonly number: number
  readonly raw: Buffer
  readonly canonical: Buffer
  /** Null for the root, which holds the tools. */
  readonly message: PromptMessage | null
  /** The walk that has come to here; null where it has to be walked again. */
  walk: CanonicalWalk | null
  /** Whether conversations part here, so that the walk is asked for again. */
  isFork: boolean
}

interface Entry {
  readonly bytes: Uint8Array
  readonly prefix: Prefix
}

/** Bytes beside its own that an entry costs, about. */
const entryBytes = 500

/** A longer message is no more than a part of what may be kept. */
const partAtMost = 8

export class KnownPrefixes {
  private readonly maxBytes: number
  /** Two generations: what the young one doesn't take over from the old one before it is full is forgotten. */
  private young = new Map<string, Entry>()
  private old = new Map<string, Entry>()
  private youngBytes = 0
  private next = 0

  /** @param maxBytes of messages and what was made of them, about */
  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }

  /** @param before number of the prefix that the message follows, or the name of what a root is for */
  find(before: number | string, bytes: Uint8Array): Prefix | undefined {
    const name = nameOf(before, bytes)
    const entry = this.young.get(name) ?? this.old.get(name)
    // A checksum is no identity.
    if (entry === undefined || Buffer.compare(entry.bytes, bytes) !== 0) return undefined
    if (!this.young.has(name)) this.keep(name, entry)
    return entry.prefix
  }

  add(
    before: number | string,
    bytes: Uint8Array,
    made: Pick<Prefix, 'raw' | 'canonical' | 'message'>,
  ): Prefix {
    if (bytes.length > this.maxBytes / partAtMost)
      return { ...made, number: this.next++, walk: null, isFork: false }
    // A body is let go of with its call; what is kept of it is a copy.
    const copy = Buffer.from(bytes)
    const message = made.message === null ? null : { ...made.message, bytes: copy }
    const prefix = { ...made, message, number: this.next++, walk: null, isFork: false }
    this.keep(nameOf(before, bytes), { bytes: copy, prefix })
    return prefix
  }

  forgetAll(): void {
    this.young.clear()
    this.old.clear()
    this.youngBytes = 0
  }

  private keep(name: string, entry: Entry): void {
    const { bytes, prefix } = entry
    this.young.set(name, entry)
    this.youngBytes += entryBytes + bytes.length + (prefix.message?.canonicalText.length ?? 0)
    if (this.youngBytes < this.maxBytes / 2) return
    this.old = this.young
    this.young = new Map()
    this.youngBytes = 0
  }
}

function nameOf(before: number | string, bytes: Uint8Array): string {
  return `${before} ${bytes.length} ${crc32(bytes)}`
}
