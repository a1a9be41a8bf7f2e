/**
 * Gives the calls of the journal their places in the tree, in the order in which they were committed, so that whatever a
 * call goes on from is in the tables before it.
 */
import type SqliteDatabase from 'better-sqlite3'
import type { Dialect, SplitReply } from '../../dialects/index.ts'
import { ShadowError } from '../../lib/error.ts'
import type { KeyedHash } from '../../lib/hash.ts'
import { type Slice, sliceOf } from '../../lib/json-slices.ts'
import { type JournalEntry, largeValueBytes } from './journal-entry.ts'
import type { PromptMessage } from './known-prefixes.ts'
import type { PlacedCall } from './placed-call.ts'
import { Placing } from './placing.ts'
import { canonicalHash, hashAt, type Prompt, PromptHasher, rawHash, replyTo, saidHash } from './prompt.ts'
import { RecentPrompts, scopeOf } from './recent-prompts.ts'
import type { BaseReply, Placement } from './record.ts'
import { SessionTails } from './session-tails.ts'
import type { Statements } from './statements.ts'
import { storedTail } from './stored-tail.ts'

type Pair = [start: number, end: number]

/** A choice of the reply, what it means, and its nodes. */
interface Choice {
  readonly index: number
  readonly slice: Pair
  readonly finishReason: string | null
  readonly message: PromptMessage
  readonly raw: Buffer
  readonly node: Buffer
  /** Names what it says, wherever it stands; null in sessions that nobody named, where it is never looked for. */
  readonly said: Buffer | null
}

export class CallPlacer {
  private readonly hash: KeyedHash
  private readonly dialects: readonly Dialect[]
  private readonly hasher: PromptHasher
  private readonly prompts: RecentPrompts
  private readonly tails: SessionTails
  private readonly placing: Placing

  constructor(
    sqlite: SqliteDatabase.Database,
    sql: Statements,
    hash: KeyedHash,
    dialects: readonly Dialect[],
  ) {
    this.hash = hash
    this.dialects = dialects
    this.hasher = new PromptHasher(hash)
    this.prompts = new RecentPrompts(sql.lastCallAt.get()?.at ?? null)
    this.tails = new SessionTails(
      (text) => saidHash(hash, text).toString('latin1'),
      (session) => storedTail(sqlite, sql, dialects, session),
    )
    this.placing = new Placing(sql, this.prompts, this.tails)
  }

  /** Calls were deleted, or what was placed last was undone: from now on the tables are asked. */
  forget(): void {
    this.prompts.forgetAll()
    this.tails.forgetAll()
    this.hasher.forgetAll()
    this.placing.forgetScopes()
  }

  /** @throws ShadowError store_failed for a dialect that is not known */
  place(entry: JournalEntry): PlacedCall {
    const { id, task, request, label = null, agent = null, parentAgent = null } = entry
    const dialect = this.dialectNamed(entry.dialect)
    const base = this.baseOf(entry)
    // The tools of a conversation that goes on are at its root; these stay with the call.
    const tools = base === null ? (entry.tools ?? null) : null
    const prompt = this.hasher.prompt({
      dialect,
      base,
      tools: tools === null ? null : request.subarray(...tools),
      messages: entry.messages.map((each) => request.subarray(...each)),
    })
    const placement = this.placementOf(entry, prompt, base)
    const split = replyOf(dialect, entry)
    const choices = this.choicesOf(entry, prompt, split)
    const { session, parent, continues } = placement
    this.note(entry, placement, prompt, choices)
    return {
      id,
      startedAt: entry.startedAt,
      ...outcomeOf(entry, split),
      httpStatus: entry.httpStatus,
      stream: entry.stream,
      modelAsked: entry.modelAsked,
      servedBy: entry.servedBy,
      fallbackFrom: entry.fallbackFrom ?? null,
      timings: entry.timings,
      redacted: entry.redacted,
      replyId: split?.id ?? null,
      dialect: entry.dialect,
      task,
      keyHash: entry.keyHash,
      session,
      label,
      parent: parent === null ? null : { call: parent.call, node: parent.node.toString('hex') },
      continues,
      agent,
      parentAgent,
      rootMessages: rootMessages(prompt.messages),
      goesOn: prompt.goesOn,
      messages: entry.messages,
      tools,
      large: largeOf(entry, base),
      replies: entry.reply === null ? null : choices,
      said: choices.flatMap(({ said }) => said?.toString('hex') ?? []),
      rawPath: prompt.rawPath,
      canonicalPath: prompt.canonicalPath,
      replyHashes: Buffer.concat(choices.flatMap(({ raw, node }) => [raw, node])),
      request,
      reply: entry.reply ?? Buffer.alloc(0),
    }
  }

  /** The same for a call that came with its place. */
  placed(call: PlacedCall): PlacedCall {
    const { id, startedAt, session, rawPath } = call
    const scope = scopeOf({ task: call.task, keyHash: Buffer.from(call.keyHash, 'hex') })
    const parent =
      call.parent === null ? null : { call: call.parent.call, node: Buffer.from(call.parent.node, 'hex') }
    this.prompts.add(id, { startedAt, scope, session, parent, rawPath })
    return call
  }

  private dialectNamed(name: string): Dialect {
    const dialect = this.dialects.find((each) => each.name === name)
    if (dialect !== undefined) return dialect
    throw new ShadowError('store_failed', `A call came in the dialect "${name}", which is not known.`, {
      hint: 'Update Shadow.',
    })
  }

  private baseOf({ task, keyHash, goesOnFrom }: JournalEntry): BaseReply | null {
    if (goesOnFrom === undefined || goesOnFrom === null) return null
    return this.placing.baseOf({ task, keyHash: Buffer.from(keyHash, 'hex'), from: goesOnFrom })
  }

  private placementOf(entry: JournalEntry, prompt: Prompt, base: BaseReply | null): Placement {
    const { known = null } = entry
    if (known?.edges !== undefined) {
      const { parent, continues } = known.edges
      const named = parent === null ? null : this.placing.parentNamed(parent, prompt)
      return { session: known.session, parent: named, continues }
    }
    const found = this.placing.place({
      callId: entry.id,
      task: entry.task,
      keyHash: Buffer.from(entry.keyHash, 'hex'),
      namedSession: entry.namedSession ?? null,
      prompt,
      base,
      agent: entry.agent ?? null,
      at: entry.startedAt,
    })
    return known === null ? found : { ...found, session: known.session }
  }

  private choicesOf(
    { reply, label = null }: JournalEntry,
    prompt: Prompt,
    split: SplitReply | null,
  ): Choice[] {
    if (reply === null || split === null) return []
    const depth = prompt.messages.length
    const rawParent = hashAt(prompt.rawPath, depth)
    const parent = hashAt(prompt.canonicalPath, depth)
    return split.choices.map(({ index, message: slice, finishReason }) => {
      const message = replyTo(prompt, sliceOf(reply, slice))
      return {
        index,
        slice: pair(slice),
        finishReason,
        message,
        raw: rawHash(this.hash, rawParent, message.bytes),
        node: canonicalHash(this.hash, parent, message),
        said: label === null ? null : saidHash(this.hash, message.canonicalText),
      }
    })
  }

  private note(entry: JournalEntry, placement: Placement, prompt: Prompt, choices: readonly Choice[]): void {
    const { id, startedAt, task } = entry
    const scope = scopeOf({ task, keyHash: Buffer.from(entry.keyHash, 'hex') })
    this.prompts.add(id, { startedAt, scope, rawPath: prompt.rawPath, ...placement })
    const texts = choices.flatMap(({ said }) => said?.toString('latin1') ?? [])
    this.tails.add(placement.session, { call: id, agent: entry.agent ?? null, texts }, choices[0]?.message)
  }
}

/** Null where nothing came, or what is no reply of the dialect, such as an error. */
function replyOf(dialect: Dialect, { httpStatus, reply }: JournalEntry): SplitReply | null {
  const isOk = httpStatus === null || (httpStatus >= 200 && httpStatus < 300)
  return reply === null || !isOk ? null : dialect.splitReply(reply)
}

/** What came of the call, with what its reply says of that. */
function outcomeOf(
  { dialect, status, error, answer }: JournalEntry,
  split: SplitReply | null,
): Pick<PlacedCall, 'status' | 'error' | 'modelAnswered' | 'usage'> {
  const said = {
    modelAnswered: answer ? answer.model : (split?.model ?? null),
    usage: answer ? answer.usage : (split?.usage ?? null),
  }
  if (status === 'complete' && split?.isPending === true) {
    // Beside why another answered than was asked first.
    const reasons = [error, 'The reply is made in the background, to be fetched later.']
    return { ...said, status: 'truncated', error: reasons.filter(Boolean).join('; ') }
  }
  if (status !== 'complete' || error || answer || split !== null) {
    return { ...said, status, error: error ?? null }
  }
  return { ...said, status, error: `The body is no reply of the dialect ${dialect}.` }
}

/** Values of other fields that are stored apart. */
function largeOf({ others, tools }: JournalEntry, base: BaseReply | null): Pair[] {
  if (base === null || !tools || tools[1] - tools[0] < largeValueBytes) return others
  return [...others, tools]
}

function rootMessages(messages: readonly { isRoot: boolean }[]): number {
  const first = messages.findIndex(({ isRoot }) => !isRoot)
  return first === -1 ? messages.length : first
}

function pair({ start, end }: Slice): Pair {
  return [start, end]
}
