/**
 * The tree's rows: messages, each stored once, and the raw and canonical nodes that they make. Rows of late are known
 * by heart, since conversations go on from where they ended; whoever deletes rows, or undoes what made them, says so.
 */
import type { KeyedHash } from '../../lib/hash.ts'
import { withoutBlobs } from './blobs.ts'
import { KnownRows } from './known-rows.ts'
import type { PlacedCall } from './placed-call.ts'
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

/** Rows of a kind that are known by heart. */
export const knownAtMost = 16_384

/** Messages of a prompt that no row is remembered of beyond which the tables are asked for the longest one they know. */
const manyMessages = 4

/** Bytes up to which a message is tried to be stored without a look whether it is there; it then holds no blobs. */
const smallBytes = 1000

export class NodeRows {
  private readonly sql: Statements
  private readonly hash: KeyedHash
  /** Ids, the ids of their canonical nodes, and the depths of those. */
  private readonly raw = new KnownRows(3, knownAtMost)
  /** Ids and depths. */
  private readonly canonical = new KnownRows(2, knownAtMost)
  private readonly parts = new KnownRows(1, knownAtMost)

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
  ofPrompt(call: PlacedCall): NodeRow {
    const count = call.messages.length + 1
    const known = this.known(call.rawPath, count)
    let row = known?.row
    const above = this.depthAbove(call)
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
  ofReply(call: PlacedCall, prompt: NodeRow, place: number, bytes: Buffer): NodeRow {
    const canonical = this.canonicalRow(hashAt(call.replyHashes, place * 2 + 1), prompt.canonical)
    const depth = this.depthAbove(call) + call.messages.length + 1
    return this.rawRow(hashAt(call.replyHashes, place * 2), prompt.raw, this.part(bytes), canonical, depth)
  }

  /** Messages that stand above those of the call, where it goes on from an earlier reply. */
  private depthAbove({ goesOn = false, rawPath }: PlacedCall): number {
    return goesOn ? (this.sql.depthOfRawNode.get(hashAt(rawPath, 0))?.depth ?? 0) : 0
  }

  canonicalId(hash: Buffer): number | null {
    return (this.knownCanonical(hash) ?? this.sql.node.get(hash))?.id ?? null
  }

  part(bytes: Uint8Array, hash: Buffer = partHash(this.hash, bytes)): number {
    const known = this.parts.find(hash)
    if (known !== null) return this.parts.value(known, 0)
    const part = this.partRow(bytes, hash)
    this.parts.add(hash, part)
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
      const row = this.knownRaw(hashAt(path, depth))
      if (row !== null) return { depth, row }
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
    const known = this.knownRaw(hash)
    if (known !== null) return known
    const made = this.sql.insertRawNode.run(hash, parent, part, canonical.id, depth)
    const raw = madeOr(made, () => this.sql.rawNode.get(hash)?.id)
    this.raw.add(hash, raw, canonical.id, canonical.depth)
    return { raw, canonical }
  }

  private canonicalRow(hash: Buffer, parent: CanonicalRow | null): CanonicalRow {
    const known = this.knownCanonical(hash)
    if (known !== null) return known
    const depth = parent === null ? 0 : parent.depth + 1
    const made = this.sql.insertNode.run(hash, parent?.id ?? null, depth)
    // A reply that is gone on from begins this path, and has its depth from another.
    const there = made.changes > 0 ? undefined : this.sql.node.get(hash)
    const id = madeOr(made, () => there?.id)
    const row = { id, depth: there?.depth ?? depth }
    this.canonical.add(hash, row.id, row.depth)
    return row
  }

  private knownRaw(hash: Buffer): NodeRow | null {
    const { raw } = this
    const place = raw.find(hash)
    if (place === null) return null
    return { raw: raw.value(place, 0), canonical: { id: raw.value(place, 1), depth: raw.value(place, 2) } }
  }

  private knownCanonical(hash: Buffer): CanonicalRow | null {
    const { canonical } = this
    const place = canonical.find(hash)
    return place === null ? null : { id: canonical.value(place, 0), depth: canonical.value(place, 1) }
  }
}
