/** A conversation as the tree knows it: its messages and the rolling hashes that name each of its prefixes. */
import { hashBytes, type KeyedHash } from '../../lib/hash.ts'

/** A message as it came, and what it means at its place (see the dialects). */
export interface PromptMessage {
  readonly bytes: Uint8Array
  readonly canonicalText: string
  /** Whether it belongs to the canonical root. */
  readonly isRoot: boolean
}

export interface PromptContent {
  readonly dialect: string
  readonly tools: Uint8Array | null
  readonly canonicalTools: string
  readonly messages: readonly PromptMessage[]
}

export interface Prompt {
  readonly content: PromptContent
  /** Hash of the root, then of each prefix, 32 bytes each. */
  readonly rawPath: Buffer
  readonly canonicalPath: Buffer
  /** Keyed hashes of the tools (or null) and of each message's bytes. */
  readonly toolsHash: Buffer | null
  readonly partHashes: readonly Buffer[]
}

export function hashPrompt(hash: KeyedHash, content: PromptContent): Prompt {
  const toolsHash = content.tools === null ? null : partHash(hash, content.tools)
  let raw = hash.of('raw root', toolsHash ?? Buffer.alloc(hashBytes), content.dialect)
  let canonical = hash.of('root', content.canonicalTools)
  const rawPath = [raw]
  const canonicalPath = [canonical]
  const partHashes: Buffer[] = []
  for (const message of content.messages) {
    const part = partHash(hash, message.bytes)
    partHashes.push(part)
    raw = rawHash(hash, raw, part)
    canonical = canonicalHash(hash, canonical, message)
    rawPath.push(raw)
    canonicalPath.push(canonical)
  }
  return {
    content,
    rawPath: Buffer.concat(rawPath),
    canonicalPath: Buffer.concat(canonicalPath),
    toolsHash,
    partHashes,
  }
}

export function partHash(hash: KeyedHash, bytes: Uint8Array): Buffer {
  return hash.of('part', bytes)
}

export function rawHash(hash: KeyedHash, parent: Uint8Array, part: Uint8Array): Buffer {
  return hash.of('raw', parent, part)
}

export function canonicalHash(
  hash: KeyedHash,
  parent: Uint8Array,
  message: Pick<PromptMessage, 'canonicalText' | 'isRoot'>,
): Buffer {
  return hash.of(message.isRoot ? 'root message' : 'node', parent, message.canonicalText)
}

/** One hash of a path; 0 is the root's. */
export function hashAt(path: Buffer, depth: number): Buffer {
  return path.subarray(depth * hashBytes, (depth + 1) * hashBytes)
}
