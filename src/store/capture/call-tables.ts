/** Brings one call into the tables, storing of its conversation only what isn't there yet. */
import type { KeyedHash } from '../../lib/hash.ts'
import type { CallEntry } from './call-entry.ts'
import { withoutBlobs } from './blobs.ts'
import { cutOut, type Filling, listOf, rowsOf, writeHoles } from './layout.ts'
import { envelopeHash, hashAt, partHash } from './prompt.ts'
import {
  type BodyColumns,
  type CallColumns,
  callChecksum,
  type ReplyColumns,
  sessionChecksum,
} from './record-checksum.ts'
import { madeBy, type Statements } from './statements.ts'

interface Node {
  readonly raw: number
  readonly canonical: number
}

export class CallTables {
  private readonly sql: Statements
  private readonly hash: KeyedHash

  constructor(sql: Statements, hash: KeyedHash) {
    this.sql = sql
    this.hash = hash
  }

  /** Runs inside the caller's transaction. A call that is there already changes nothing. */
  insert(call: CallEntry): void {
    if (this.sql.callById.get(call.id) !== undefined) return
    const keyHash = Buffer.from(call.keyHash, 'hex')
    const scope =
      this.sql.scope.get(call.task, keyHash)?.id ?? madeBy(this.sql.insertScope.run(call.task, keyHash))
    const session = this.sql.session.get(call.session)?.seq ?? this.insertSession(call, scope)
    const prompt = this.insertPrompt(call)
    const parent = call.parent === null ? undefined : this.sql.callById.get(call.parent.call)
    const parentNode =
      call.parent === null ? undefined : this.sql.node.get(Buffer.from(call.parent.node, 'hex'))
    const { timings, usage } = call
    const replies = this.replyRows(call, prompt)
    const body = replyBody(call)
    const row: CallColumns = {
      id: call.id,
      task: call.task,
      scope,
      session,
      parent: parent?.seq ?? null,
      parent_node: parent === undefined ? null : (parentNode?.id ?? null),
      dialect: call.dialect,
      started_at: call.startedAt,
      status: call.status,
      http_status: call.httpStatus,
      stream: call.stream ? 1 : 0,
      model_asked: call.modelAsked,
      model_answered: call.modelAnswered,
      served_by: call.servedBy,
      fallback_from: call.fallbackFrom,
      prompt_tokens: usage?.prompt_tokens ?? null,
      completion_tokens: usage?.completion_tokens ?? null,
      total_tokens: usage?.total_tokens ?? null,
      first_byte_ms: timings.firstByteMs,
      total_ms: timings.totalMs,
      error: call.error,
      raw_node: prompt.raw,
      node: prompt.canonical,
      envelope: this.insertEnvelope(call),
      reply_id: call.replyId ?? null,
      continues: call.continues ? (this.sql.callById.get(call.continues)?.seq ?? null) : null,
      agent: call.agent ?? null,
      parent_agent: call.parentAgent ?? null,
      redacted: call.redacted ? JSON.stringify(call.redacted) : null,
    }
    const checksum = callChecksum(this.hash, row, replies, body)
    const seq = madeBy(this.sql.insertCall.run({ ...row, checksum }))
    if (body !== null) this.sql.insertReplyBody.run(seq, body.literal, body.holes)
    for (const { place, choice, raw_node, node, finish_reason, said } of replies) {
      this.sql.insertReply.run(seq, place, choice, raw_node, node, finish_reason, scope, session, said)
    }
  }

  private insertSession({ session: id, task, label }: CallEntry, scope: number): number {
    const checksum = sessionChecksum(this.hash, { id, scope, task, label })
    return madeBy(this.sql.insertSession.run(id, scope, task, label, checksum))
  }

  private insertPrompt(call: CallEntry): Node {
    const count = call.messages.length + 1
    const known = this.sql.longestKnownPrompt.get({ path: call.rawPath, count })
    let raw = known?.id ?? null
    let canonical = known?.node ?? null
    const above = call.goesOn ? (this.sql.depthOfRawNode.get(hashAt(call.rawPath, 0))?.depth ?? 0) : 0
    for (let depth = known === undefined ? 0 : known.depth + 1; depth < count; depth++) {
      const isRoot = depth <= call.rootMessages
      canonical = this.canonicalNode(hashAt(call.canonicalPath, depth), isRoot ? null : canonical)
      const slice = depth === 0 ? call.tools : (call.messages[depth - 1] ?? null)
      const part = slice === null ? null : this.part(call.request.subarray(...slice))
      raw = madeBy(
        this.sql.insertRawNode.run(hashAt(call.rawPath, depth), raw, part, canonical, above + depth),
      )
    }
    if (raw === null || canonical === null) throw new Error('A prompt has at least its root.')
    return { raw, canonical }
  }

  private replyRows(call: CallEntry, prompt: Node): ReplyColumns[] {
    return (call.replies ?? []).map(({ index, finishReason, slice }, place) => {
      const node = this.replyNode(call, prompt, place, call.reply.subarray(...slice))
      const name = call.said?.[place]
      return {
        place,
        choice: index,
        raw_node: node.raw,
        node: node.canonical,
        finish_reason: finishReason,
        said: name === undefined ? null : Buffer.from(name, 'hex'),
      }
    })
  }

  /** The reply's node under the prompt's. */
  private replyNode(call: CallEntry, prompt: Node, place: number, bytes: Buffer): Node {
    const name = hashAt(call.replyHashes, place * 2)
    const known = this.sql.rawNode.get(name)
    if (known !== undefined) return { raw: known.id, canonical: known.node }
    const canonical = this.canonicalNode(hashAt(call.replyHashes, place * 2 + 1), prompt.canonical)
    const depth = call.messages.length + 1
    const raw = madeBy(this.sql.insertRawNode.run(name, prompt.raw, this.part(bytes), canonical, depth))
    return { raw, canonical }
  }

  private canonicalNode(hash: Buffer, parent: number | null): number {
    const known = this.sql.node.get(hash)
    if (known !== undefined) return known.id
    const depth = parent === null ? 0 : (this.sql.depthOfNode.get(parent)?.depth ?? 0) + 1
    return madeBy(this.sql.insertNode.run(hash, parent, depth))
  }

  private part(bytes: Uint8Array, hash: Buffer = partHash(this.hash, bytes)): number {
    const known = this.sql.part.get(hash)?.id
    if (known !== undefined) return known
    const { literal, holes, blobs } = withoutBlobs(this.hash, bytes)
    if (blobs.length === 0) return madeBy(this.sql.insertPart.run(hash, bytes, null))
    const ids = blobs.map(
      (blob) =>
        this.sql.part.get(blob.hash)?.id ?? madeBy(this.sql.insertPart.run(blob.hash, blob.bytes, null)),
    )
    const part = madeBy(this.sql.insertPart.run(hash, literal, holes))
    for (const id of ids) this.sql.linkBlob.run(part, id)
    return part
  }

  private insertEnvelope({ request, messages, tools, large, goesOn = false }: CallEntry): number {
    const slices = messages.map(([start, end]) => ({ start, end }))
    const apart = [...(tools === null ? [] : [tools]), ...large].map(([start, end]) => ({ start, end }))
    const rows = rowsOf(slices, apart)
    const cuts: { slice: { start: number; end: number }; filling: Filling }[] = rows.map((row) => {
      const { slice, between } = listOf(request, row.slices)
      // Of a prompt that goes on from what the upstream keeps, the request holds but the last messages.
      const isAll = rows.length === 1 && !goesOn
      return {
        slice,
        filling: {
          kind: 'messages',
          between,
          ...(isAll ? {} : { from: row.from, count: row.slices.length }),
        },
      }
    })
    if (tools !== null) cuts.push({ slice: { start: tools[0], end: tools[1] }, filling: { kind: 'tools' } })
    const parts: number[] = []
    for (const [start, end] of large) {
      const bytes = request.subarray(start, end)
      const hash = partHash(this.hash, bytes)
      parts.push(this.part(bytes, hash))
      cuts.push({ slice: { start, end }, filling: { kind: 'part', hash: hash.toString('hex') } })
    }
    const { literal, holes } = cutOut(request, cuts)
    const text = writeHoles(holes)
    const hash = envelopeHash(this.hash, literal, text)
    const known = this.sql.envelope.get(hash)?.id
    if (known !== undefined) return known
    const envelope = madeBy(this.sql.insertEnvelope.run(hash, literal, text))
    for (const part of parts) this.sql.linkPart.run(envelope, part)
    return envelope
  }
}

/** What is left of the reply without its messages; null where nothing came. */
function replyBody({ reply, replies }: CallEntry): BodyColumns | null {
  if (replies === null) return null
  const { literal, holes } = cutOut(
    reply,
    replies.map(({ slice: [start, end] }, place) => ({
      slice: { start, end },
      filling: { kind: 'reply', place },
    })),
  )
  return { literal, holes: writeHoles(holes) }
}
