/** A conversation as the tree knows it: its messages and the rolling hashes that name each of its prefixes. */
import type { CanonicalWalk, Dialect } from '../../dialects/index.ts'
import { hashBytes, type KeyedHash } from '../../lib/hash.ts'
import { KnownPrefixes, type Prefix, type PromptMessage } from './known-prefixes.ts'
import type { BaseReply } from './record.ts'

export interface PromptContent {
  readonly dialect: Pick<Dialect, 'name' | 'walk' | 'canonicalTools'>
  readonly tools: Uint8Array | null
  readonly messages: readonly Uint8Array[]
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
  /** Has come to the end of the messages, and is forked to go on. */
  readonly walk: CanonicalWalk
}

/** Bytes of the name of what is said: it is only looked for within a session. */
const saidBytes = 16

export interface Remembering {
  /** Bytes of the conversations of late that are known again, about. */
  readonly bytes: number
  /** Bytes of a conversation below which it is hashed as fast as it is looked up. */
  readonly fromBytes: number
}

const remembering: Remembering = { bytes: 32 * 1024 * 1024, fromBytes: 2048 }

const noBytes = new Uint8Array()

export class PromptHasher {
  private readonly hash: KeyedHash
  private readonly fromBytes: number
  private readonly known: KnownPrefixes

  constructor(hash: KeyedHash, { bytes, fromBytes } = remembering) {
    this.hash = hash
    this.fromBytes = fromBytes
    this.known = new KnownPrefixes(bytes)
  }

  prompt({ dialect, tools, messages, base = null }: PromptContent): Prompt {
    // What goes on from a reply begins anywhere, and is short.
    const isKept = base === null && messages.reduce((sum, { length }) => sum + length, 0) >= this.fromBytes
    const path = [base === null ? this.root(dialect, tools) : startAt(base)]
    if (base === null) this.addKnown(path, messages)
    const walk = walkTo(path, dialect)
    for (const bytes of messages.slice(path.length - 1)) {
      const before = path.at(-1) ?? startAt(base)
      const message = messageAt(walk, bytes)
      const made = {
        raw: rawHash(this.hash, before.raw, bytes),
        canonical: canonicalHash(this.hash, before.canonical, message),
        message: base === null ? message : { ...message, isRoot: false },
      }
      // The instructions that many conversations begin with are kept of short ones, too.
      const isAdded = isKept || (base === null && message.isRoot)
      path.push(isAdded ? this.known.add(before.number, bytes, made) : { ...made, ...unnumbered })
    }
    const last = path.at(-1)
    if (isKept && last !== undefined) last.walk = walk
    return { ...hashesOf(path), dialect: dialect.name, goesOn: base !== null, walk }
  }

  forgetAll(): void {
    this.known.forgetAll()
  }

  private root(dialect: PromptContent['dialect'], tools: Uint8Array | null): Prefix {
    const before = `${dialect.name}${tools === null ? '' : ' with tools'}`
    const known = this.known.find(before, tools ?? noBytes)
    if (known !== undefined) return known
    const raw = rawRoot(this.hash, dialect.name, tools)
    const canonical = this.hash.of('root', dialect.canonicalTools(tools))
    return this.known.add(before, tools ?? noBytes, { raw, canonical, message: null })
  }

  private addKnown(path: Prefix[], messages: readonly Uint8Array[]): void {
    for (const bytes of messages) {
      const next = this.known.find(path.at(-1)?.number ?? '', bytes)
      if (next === undefined) return
      path.push(next)
    }
  }
}

const unnumbered = { number: -1, walk: null, isFork: false }

function startAt(base: Pick<BaseReply, 'raw' | 'node'> | null): Prefix {
  if (base === null) throw new Error('A path has at least its root.')
  return { ...unnumbered, raw: base.raw, canonical: base.node, message: null }
}

/** A walk that has come to the path's end. */
function walkTo(path: readonly Prefix[], dialect: PromptContent['dialect']): CanonicalWalk {
  const from = path.findLastIndex(({ walk }) => walk !== null)
  const start = path[from]
  const walk = start?.walk?.fork() ?? dialect.walk()
  const between = path.slice(from + 1)
  for (const { message } of between) if (message !== null) walk.message(message.bytes)
  const last = path.at(-1)
  if (last === undefined || last.message === null) return walk
  if (between.length > 0) {
    // Another conversation parts here from the one that came before.
    last.walk = walk.fork()
    last.isFork = true
  } else if (!last.isFork) last.walk = null
  return walk
}

function hashesOf(path: readonly Prefix[]) {
  const rawPath = Buffer.allocUnsafe(path.length * hashBytes)
  const canonicalPath = Buffer.allocUnsafe(rawPath.length)
  const messages: PromptMessage[] = []
  let lastReplyDepth: number | null = null
  let depth = 0
  for (const { raw, canonical, message } of path) {
    rawPath.set(raw, depth * hashBytes)
    canonicalPath.set(canonical, depth * hashBytes)
    if (message !== null) messages.push(message)
    if (message?.isReply === true) lastReplyDepth = depth
    depth++
  }
  return { messages, rawPath, canonicalPath, lastReplyDepth }
}

function messageAt(walk: CanonicalWalk, bytes: Uint8Array): PromptMessage {
  const { text, ...place } = walk.message(bytes)
  return { bytes, canonicalText: text, ...place }
}

/** What a reply to the prompt means. */
export function replyTo({ walk }: Pick<Prompt, 'walk'>, bytes: Uint8Array): PromptMessage {
  return messageAt(walk.fork(), bytes)
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
