/** A conversation as the tree knows it: its messages and the rolling hashes that name each of its prefixes. */
import { hashBytes, type KeyedHash } from '../../lib/hash.ts'
import type { BaseReply } from './record.ts'

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

export interface PromptContent {
  readonly dialect: string
  readonly tools: Uint8Array | null
  /** Asked only for tools that haven't been seen lately: lists of tools are long and stay the same. */
  canonicalTools(): string
  readonly messages: readonly PromptMessage[]
  /** The reply that the messages go on from, where they aren't the whole conversation; it brings the tools. */
  readonly base?: Pick<BaseReply, 'raw' | 'node'> | null
}

export interface Prompt {
  readonly messages: readonly PromptMessage[]
  readonly dialect: string
  /** Whether the messages go on from an earlier reply, which then stands in the root's place. */
  readonly goesOn: boolean
  /** Hash of the root, then of each prefix, 32 bytes each. */
  readonly rawPath: Buffer
  readonly canonicalPath: Buffer
  /** Depth of the last message that a model said; null where there is none. */
  readonly lastReplyDepth: number | null
}

/** Bytes of the name of what is said: it is only looked for within a session. */
const saidBytes = 16

/** How many lists of tools are remembered. */
const rememberedRoots = 256

export class PromptHasher {
  private readonly hash: KeyedHash
  /** Canonical roots by raw ones, the least recently used first. */
  private readonly roots = new Map<string, Buffer>()

  constructor(hash: KeyedHash) {
    this.hash = hash
  }

  prompt(content: PromptContent): Prompt {
    const { messages, dialect, tools, base = null } = content
    const rawPath = Buffer.allocUnsafe((messages.length + 1) * hashBytes)
    const canonicalPath = Buffer.allocUnsafe(rawPath.length)
    let raw = base?.raw ?? rawRoot(this.hash, dialect, tools)
    let canonical = base?.node ?? this.canonicalRoot(raw, content)
    rawPath.set(raw)
    canonicalPath.set(canonical)
    let lastReplyDepth: number | null = null
    let depth = 0
    for (const message of messages) {
      depth++
      raw = rawHash(this.hash, raw, message.bytes)
      canonical = canonicalHash(this.hash, canonical, message)
      rawPath.set(raw, depth * hashBytes)
      canonicalPath.set(canonical, depth * hashBytes)
      if (message.isReply) lastReplyDepth = depth
    }
    return { messages, dialect, goesOn: base !== null, rawPath, canonicalPath, lastReplyDepth }
  }

  private canonicalRoot(raw: Buffer, content: PromptContent): Buffer {
    const name = raw.toString('latin1')
    const known = this.roots.get(name)
    const root = known ?? this.hash.of('root', content.canonicalTools())
    this.roots.delete(name)
    this.roots.set(name, root)
    const oldest = this.roots.size > rememberedRoots ? this.roots.keys().next().value : undefined
    if (oldest !== undefined) this.roots.delete(oldest)
    return root
  }
}

export function partHash(hash: KeyedHash, bytes: Uint8Array): Buffer {
  return hash.of('part', bytes)
}

export function rawRoot(hash: KeyedHash, dialect: string, tools: Uint8Array | null): Buffer {
  return hash.of(tools === null ? 'raw root' : 'raw root with tools', `${dialect}\0`, tools ?? '')
}

/** @param holes what `writeHoles` made */
export function envelopeHash(hash: KeyedHash, literal: Uint8Array, holes: string): Buffer {
  return hash.of('envelope', String(holes.length), '\0', holes, literal)
}

export function rawHash(hash: KeyedHash, parent: Uint8Array, bytes: Uint8Array): Buffer {
  return hash.of('raw', parent, bytes)
}

/** Names what a message says, wherever in a conversation it stands. */
export function saidHash(hash: KeyedHash, canonicalText: string): Buffer {
  return hash.of('said', canonicalText).subarray(0, saidBytes)
}

export function canonicalHash(
  hash: KeyedHash,
  parent: Uint8Array,
  { canonicalText, isRoot }: Pick<PromptMessage, 'canonicalText' | 'isRoot'>,
): Buffer {
  const kind = isRoot ? 'root message' : 'node'
  // A message of one dialect may be several of another, and both come to the same node.
  if (!canonicalText.includes('\n')) return hash.of(kind, parent, canonicalText)
  const [first = '', ...others] = canonicalText.split('\n')
  return others.reduce((node, line) => hash.of(kind, node, line), hash.of(kind, parent, first))
}

/** One hash of a path; 0 is the root's. */
export function hashAt(path: Buffer, depth: number): Buffer {
  return path.subarray(depth * hashBytes, (depth + 1) * hashBytes)
}
