/** Brings one call into the tables, storing of its conversation only what isn't there yet. */
import type { KeyedHash } from '../../lib/hash.ts'
import { Lately } from '../../lib/lately.ts'
import { KnownRows } from './known-rows.ts'
import { cutOut, type Filling, listOf, rowsOf, writeHoles } from './layout.ts'
import { knownAtMost, type NodeRow, NodeRows } from './node-rows.ts'
import { envelopeHash, partHash } from './prompt.ts'
import type { PlacedCall } from './placed-call.ts'
import {
  type BodyColumns,
  type CallColumns,
  callChecksum,
  callColumns,
  type ReplyColumns,
  sessionChecksum,
} from './record-checksum.ts'
import { madeOr, type Statements } from './statements.ts'

export class CallTables {
  private readonly sql: Statements
  private readonly hash: KeyedHash
  private readonly nodes: NodeRows
  /** Rows of late by their names. */
  private readonly scopes = new Lately<number>(knownAtMost)
  private readonly sessions = new KnownRows(1, knownAtMost)
  private readonly envelopes = new KnownRows(1, knownAtMost)

  constructor(sql: Statements, hash: KeyedHash) {
    this.sql = sql
    this.hash = hash
    this.nodes = new NodeRows(sql, hash)
  }

  /** Rows were deleted, or what made them was undone. */
  forget(): void {
    this.nodes.forget()
    for (const each of [this.scopes, this.sessions, this.envelopes]) each.clear()
  }

  has(id: string): boolean {
    return this.sql.callById.get(id) !== undefined
  }

  /** Runs inside the caller's transaction, for a call that isn't there yet. */
  insert(call: PlacedCall): void {
    const scope = this.scope(call)
    const session = this.session(call, scope)
    const prompt = this.nodes.ofPrompt(call)
    const parent = call.parent === null ? undefined : this.sql.callById.get(call.parent.call)
    const parentNode =
      call.parent === null || parent === undefined
        ? null
        : this.nodes.canonicalId(Buffer.from(call.parent.node, 'hex'))
    const { timings, usage } = call
    const replies = this.replyRows(call, prompt)
    const body = replyBody(call)
    const row: CallColumns = {
      id: call.id,
      task: call.task,
      scope,
      session,
      parent: parent?.seq ?? null,
      parent_node: parentNode,
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
      node: prompt.canonical.id,
      envelope: this.envelope(call),
      reply_id: call.replyId ?? null,
      continues: call.continues ? (this.sql.callById.get(call.continues)?.seq ?? null) : null,
      agent: call.agent ?? null,
      parent_agent: call.parentAgent ?? null,
      redacted: call.redacted ? JSON.stringify(call.redacted) : null,
    }
    const checksum = callChecksum(this.hash, row, replies, body)
    const values = callColumns.map((column) => row[column])
    const seq = Number(this.sql.insertCall.run(...values, checksum).lastInsertRowid)
    if (body !== null) this.sql.insertReplyBody.run(seq, body.literal, body.holes)
    for (const { place, choice, raw_node, node, finish_reason, said } of replies) {
      this.sql.insertReply.run(seq, place, choice, raw_node, node, finish_reason, scope, session, said)
    }
  }

  private scope({ task, keyHash: hex }: PlacedCall): number {
    const name = `${hex} ${task}`
    const known = this.scopes.get(name)
    if (known !== undefined) return known
    const keyHash = Buffer.from(hex, 'hex')
    const made = this.sql.insertScope.run(task, keyHash)
    const scope = madeOr(made, () => this.sql.scope.get(task, keyHash)?.id)
    this.scopes.set(name, scope)
    return scope
  }

  private session({ session: id, task, label }: PlacedCall, scope: number): number {
    const name = this.hash.of('known session', id)
    const known = this.sessions.find(name)
    if (known !== null) return this.sessions.value(known, 0)
    const checksum = sessionChecksum(this.hash, { id, scope, task, label })
    const made = this.sql.insertSession.run(id, scope, task, label, checksum)
    const session = madeOr(made, () => this.sql.session.get(id)?.seq)
    this.sessions.add(name, session)
    return session
  }

  private replyRows(call: PlacedCall, prompt: NodeRow): ReplyColumns[] {
    return (call.replies ?? []).map(({ index, finishReason, slice }, place) => {
      const node = this.nodes.ofReply(call, prompt, place, call.reply.subarray(...slice))
      const name = call.said?.[place]
      return {
        place,
        choice: index,
        raw_node: node.raw,
        node: node.canonical.id,
        finish_reason: finishReason,
        said: name === undefined ? null : Buffer.from(name, 'hex'),
      }
    })
  }

  private envelope({ request, messages, tools, large, goesOn = false }: PlacedCall): number {
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
      parts.push(this.nodes.part(bytes, hash))
      cuts.push({ slice: { start, end }, filling: { kind: 'part', hash: hash.toString('hex') } })
    }
    const { literal, holes } = cutOut(request, cuts)
    const text = writeHoles(holes)
    const hash = envelopeHash(this.hash, literal, text)
    const known = this.envelopes.find(hash)
    if (known !== null) return this.envelopes.value(known, 0)
    const made = this.sql.insertEnvelope.run(hash, literal, text)
    const envelope = madeOr(made, () => this.sql.envelope.get(hash)?.id)
    if (made.changes > 0) for (const part of parts) this.sql.linkPart.run(envelope, part)
    this.envelopes.add(hash, envelope)
    return envelope
  }
}

/** What is left of the reply without its messages; null where nothing came. */
function replyBody({ reply, replies }: PlacedCall): BodyColumns | null {
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
