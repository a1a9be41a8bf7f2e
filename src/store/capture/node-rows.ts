/**
 * The tree's rows: messages, each stored once, and the raw and canonical nodes that they make. Rows of late are known
 * by heart, since conversations go on from where they ended; whoever deletes rows, or undoes what made them, says so.
 */
import { hashBytes, type KeyedHash } from '../../lib/hash.ts'
import { Lately } from '../../lib/lately.ts'
import { withoutBlobs } from './blobs.ts'
import type { CallEntry } from './call-entry.ts'
import { hashAt, partHash } from './prompt.ts'
import { madeOr, type Statements } from './statements.ts'

export interface CanonicalRow {
  readonly id: number
  readonly depth: number
}

/** A raw node and its canonical one. */
export interface NodeRow {
  readonly raw: number
  readonly canonical: CanonicalRow
}

const remembered = 16_384

/** Messages of a prompt that no row is remembered of beyond which the tables are asked for the longest one they know. */
const manyMessages = 4

/** Bytes up to which a message is tried to be stored without a look whether it is there; it then holds no blobs. */
const smallBytes = 1000

export class NodeRows {
  private readonly sql: Statements
  private readonly hash: KeyedHash
  private readonly raw = new Lately<NodeRow>(remembered)
  private readonly canonical = new Lately<CanonicalRow>(remembered)
  private readonly parts = new Lately<number>(remembered)

  constructor(sql: Statements, hash: KeyedHash) {
    this.sql = sql
    this.hash = hash
  }

  forget(): void {
    this.raw.clear()
    this.canonical.clear()
    this.parts.clear()
  }

  /** The row of a prompt's last message. */
  ofPrompt(call: CallEntry): NodeRow {
    const count = call.messages.length + 1
    const known = this.known(call.rawPath, count)
    let row = known?.row
    const above = call.goesOn ? (this.sql.depthOfRawNode.get(hashAt(call.rawPath, 0))?.depth ?? 0) : 0
    for (let depth = known === undefined ? 0 : known.depth + 1; depth < count; depth++) {
      const isRoot = depth <= call.rootMessages
      const canonical = this.canonicalRow(
        hashAt(call.canonicalPath, depth),
        isRoot ? null : (row?.canonical ?? null),
      )
      const slice = depth === 0 ? call.tools : (call.messages[depth - 1] ?? null)
      const part = slice === null ? null : this.part(call.request.subarray(...slice))
      row = this.rawRow(hashAt(call.rawPath, depth), row?.raw ?? null, part, canonical, above + depth)
    }
    if (row === undefined) throw new Error('A prompt has at least its root.')
    return row
  }

  /** The reply's row under the prompt's. */
  ofReply(call: CallEntry, prompt: NodeRow, place: number, bytes: Buffer): NodeRow {
    const canonical = this.canonicalRow(hashAt(call.replyHashes, place * 2 + 1), prompt.canonical)
    const depth = call.messages.length + 1
    return this.rawRow(hashAt(call.replyHashes, place * 2), prompt.raw, this.part(bytes), canonical, depth)
  }

  canonicalId(hash: Buffer): number | null {
    return (this.canonical.get(nameOf(hash)) ?? this.sql.node.get(hash))?.id ?? null
  }

  part(bytes: Uint8Array, hash: Buffer = partHash(this.hash, bytes)): number {
    const name = nameOf(hash)
    const known = this.parts.get(name)
    if (known !== undefined) return known
    const part = this.partRow(bytes, hash)
    this.parts.set(name, part)
    return part
  }

  private partRow(bytes: Uint8Array, hash: Buffer): number {
    const there = () => this.sql.part.get(hash)?.id
    if (bytes.length <= smallBytes) return madeOr(this.sql.insertPart.run(hash, bytes, null), there)
    const known = there()
    if (known !== undefined) return known
    const { literal, holes, blobs } = withoutBlobs(this.hash, bytes)
    if (blobs.length === 0) return madeOr(this.sql.insertPart.run(hash, bytes, null), there)
    const ids = blobs.map((blob) =>
      madeOr(this.sql.insertPart.run(blob.hash, blob.bytes, null), () => this.sql.part.get(blob.hash)?.id),
    )
    const part = madeOr(this.sql.insertPart.run(hash, literal, holes), there)
    for (const id of ids) this.sql.linkBlob.run(part, id)
    return part
  }

  /** The longest prefix that has a row, or one that has, where few messages follow it. */
  private known(path: Buffer, count: number): { depth: number; row: NodeRow } | undefined {
    for (let depth = count - 1; depth >= 0; depth--) {
      if (depth === count - 1 - manyMessages) {
        const found = this.sql.longestKnownPrompt.get({ path, count })
        if (found === undefined) return undefined
        const canonical = { id: found.node, depth: this.sql.depthOfNode.get(found.node)?.depth ?? 0 }
        return { depth: found.depth, row: { raw: found.id, canonical } }
      }
      const row = this.raw.get(nameOf(hashAt(path, depth)))
      if (row !== undefined) return { depth, row }
    }
    return undefined
  }

  private rawRow(
    hash: Buffer,
    parent: number | null,
    part: number | null,
    canonical: CanonicalRow,
    depth: number,
  ): NodeRow {
    const name = nameOf(hash)
    const known = this.raw.get(name)
    if (known !== undefined) return known
    const made = this.sql.insertRawNode.run(hash, parent, part, canonical.id, depth)
    const row = { raw: madeOr(made, () => this.sql.rawNode.get(hash)?.id), canonical }
    this.raw.set(name, row)
    return row
  }

  private canonicalRow(hash: Buffer, parent: CanonicalRow | null): CanonicalRow {
    const name = nameOf(hash)
    const known = this.canonical.get(name)
    if (known !== undefined) return known
    const depth = parent === null ? 0 : parent.depth + 1
    const made = this.sql.insertNode.run(hash, parent?.id ?? null, depth)
    // A node's hash says what it stands on, and so how deep it is.
    const row = { id: madeOr(made, () => this.sql.node.get(hash)?.id), depth }
    this.canonical.set(name, row)
    return row
  }
}

function nameOf(hash: Buffer): string {
  return hash.toString('latin1', 0, hashBytes)
}
