/** Writes one call into the tables, storing of its conversation only what isn't there yet. */
import type { KeyedHash } from '../../lib/hash.ts'
import { cutOut, type Filling, listOf, writeHoles } from './layout.ts'
import { canonicalHash, hashAt, type Prompt, partHash, rawHash } from './prompt.ts'
import type { CallRecord, Placement, RecordedRequest } from './record.ts'
import type { Statements } from './statements.ts'

/** Bytes from which a field's value is stored apart, so that requests that differ elsewhere share it. */
const largeValueBytes = 512

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

  /** Runs inside the caller's transaction. */
  insert(call: CallRecord): void {
    const { placement } = call
    const scope = this.scopeOf(placement)
    const session =
      this.sql.session(placement.session)?.seq ??
      this.sql.insertSession(placement.session, scope, placement.task, placement.label)
    const prompt = this.insertPrompt(call.prompt)
    const seq = this.sql.insertCall({
      id: call.id,
      task: placement.task,
      scope,
      session,
      parent: placement.parent,
      parentNode: placement.parentNode,
      dialect: call.prompt.content.dialect,
      startedAt: call.startedAt,
      status: call.status,
      httpStatus: call.httpStatus,
      stream: call.stream ? 1 : 0,
      modelAsked: call.modelAsked,
      modelAnswered: call.modelAnswered,
      servedBy: call.servedBy,
      fallbackFrom: call.fallbackFrom,
      promptTokens: call.usage?.prompt_tokens ?? null,
      completionTokens: call.usage?.completion_tokens ?? null,
      totalTokens: call.usage?.total_tokens ?? null,
      firstByteMs: call.timings.firstByteMs,
      totalMs: call.timings.totalMs,
      error: call.error,
      rawNode: prompt.raw,
      node: prompt.canonical,
      envelope: this.insertEnvelope(call.request),
    })
    if (call.reply === null) return
    const { body, choices } = call.reply
    const layout = cutOut(
      body,
      choices.map(({ slice }, place) => ({ slice, filling: { kind: 'reply', place } })),
    )
    this.sql.insertReplyBody(seq, layout.literal, writeHoles(layout.holes))
    for (const [place, { index, finishReason, message }] of choices.entries()) {
      const { raw, canonical } = this.insertChild(call.prompt, prompt, message)
      this.sql.insertReply(seq, place, index, raw, canonical, finishReason, scope, session)
    }
  }

  private scopeOf({ task, keyHash }: Placement): number {
    return this.sql.scope(task, keyHash)?.id ?? this.sql.insertScope(task, keyHash)
  }

  private insertPrompt(prompt: Prompt): Node {
    const { content, rawPath, canonicalPath } = prompt
    const count = content.messages.length + 1
    const known = this.sql.longestKnownPrompt({ path: rawPath, count })
    let raw = known?.id ?? null
    let canonical = known?.node ?? null
    for (let depth = known === undefined ? 0 : known.depth + 1; depth < count; depth++) {
      const isRoot = depth === 0 || content.messages[depth - 1]?.isRoot === true
      canonical = this.canonicalNode(hashAt(canonicalPath, depth), isRoot ? null : canonical)
      const bytes = depth === 0 ? content.tools : (content.messages[depth - 1]?.bytes ?? null)
      const hash = depth === 0 ? prompt.toolsHash : (prompt.partHashes[depth - 1] ?? null)
      const part = bytes === null || hash === null ? null : this.part(hash, bytes)
      raw = this.sql.insertRawNode(hashAt(rawPath, depth), raw, part, canonical, depth)
    }
    if (raw === null || canonical === null) throw new Error('A prompt has at least its root.')
    return { raw, canonical }
  }

  /** A reply's node under the prompt's. */
  private insertChild(
    prompt: Prompt,
    parent: Node,
    message: CallRecord['prompt']['content']['messages'][number],
  ): Node {
    const depth = prompt.content.messages.length
    const part = partHash(this.hash, message.bytes)
    const rawName = rawHash(this.hash, hashAt(prompt.rawPath, depth), part)
    const known = this.sql.rawNode(rawName)
    if (known !== undefined) return { raw: known.id, canonical: known.node }
    const name = canonicalHash(this.hash, hashAt(prompt.canonicalPath, depth), message)
    const canonical = this.canonicalNode(name, message.isRoot ? null : parent.canonical)
    const raw = this.sql.insertRawNode(
      rawName,
      parent.raw,
      this.part(part, message.bytes),
      canonical,
      depth + 1,
    )
    return { raw, canonical }
  }

  private canonicalNode(hash: Buffer, parent: number | null): number {
    const known = this.sql.node(hash)
    if (known !== undefined) return known.id
    const depth = parent === null ? 0 : (this.sql.depthOfNode(parent)?.depth ?? 0) + 1
    return this.sql.insertNode(hash, parent, depth)
  }

  private part(hash: Buffer, bytes: Uint8Array): number {
    return this.sql.part(hash)?.id ?? this.sql.insertPart(hash, bytes)
  }

  private insertEnvelope({ body, messages, tools, others }: RecordedRequest): number {
    const list = listOf(body, messages)
    const cuts: Parameters<typeof cutOut>[1][number][] = [
      { slice: list.slice, filling: { kind: 'messages', between: list.between } },
    ]
    if (tools !== null) cuts.push({ slice: tools, filling: { kind: 'tools' } })
    for (const slice of others) {
      if (slice.end - slice.start < largeValueBytes) continue
      const bytes = body.subarray(slice.start, slice.end)
      const hash = partHash(this.hash, bytes)
      this.part(hash, bytes)
      cuts.push({ slice, filling: { kind: 'part', hash: hash.toString('hex') } satisfies Filling })
    }
    const { literal, holes } = cutOut(body, cuts)
    const text = writeHoles(holes)
    const hash = this.hash.of('envelope', String(text.length), '\0', text, literal)
    return this.sql.envelope(hash)?.id ?? this.sql.insertEnvelope(hash, literal, text)
  }
}
