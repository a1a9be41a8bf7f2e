/**
 * The conversations of late, message by message: an agent sends its whole history with every call, and what was parsed
 * and hashed of it once is found again by its bytes.
 */
import { crc32 } from 'node:zlib'
import type { CanonicalWalk } from '../../dialects/index.ts'
import { Lately } from '../../lib/lately.ts'

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
  private readonly entries: Lately<Entry>
  private next = 0

  /** @param maxBytes of messages and what was made of them, about */
  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
    this.entries = new Lately(
      maxBytes,
      ({ bytes, prefix }) => entryBytes + bytes.length + (prefix.message?.canonicalText.length ?? 0),
    )
  }

  /** @param before number of the prefix that the message follows, or the name of what a root is for */
  find(before: number | string, bytes: Uint8Array): Prefix | undefined {
    const entry = this.entries.get(nameOf(before, bytes))
    // A checksum is no identity.
    return entry !== undefined && Buffer.compare(entry.bytes, bytes) === 0 ? entry.prefix : undefined
  }

  add(
    before: number | string,
    bytes: Uint8Array,
    made: Pick<Prefix, 'raw' | 'canonical' | 'message'>,
  ): Prefix {
    if (bytes.length > this.maxBytes / partAtMost) {
      return { ...made, number: this.next++, walk: null, isFork: false }
    }
    // A body is let go of with its call; what is kept of it is a copy.
    const copy = Buffer.from(bytes)
    const message = made.message === null ? null : { ...made.message, bytes: copy }
    const prefix = { ...made, message, number: this.next++, walk: null, isFork: false }
    this.entries.set(nameOf(before, bytes), { bytes: copy, prefix })
    return prefix
  }

  forgetAll(): void {
    this.entries.clear()
  }
}

function nameOf(before: number | string, bytes: Uint8Array): string {
  return `${before} ${bytes.length} ${crc32(bytes)}`
}
