/** Reading what was captured. Any process may, while the server writes. */
import { existsSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import type SqliteDatabase from 'better-sqlite3'
import { sql } from 'kysely'
import {
  type CallStatus,
  type CallSummary,
  type CapturedCall,
  redactedCounts,
  type SessionSummary,
  type SessionTree,
  type Trajectory,
  untrainableReason,
} from '../../contract/index.ts'
import type { Dialect } from '../../dialects/index.ts'
import { ShadowError } from '../../lib/error.ts'
import { type OpenedDatabase, openDatabase } from '../database.ts'
import { PartReader } from './blobs.ts'
import { capturePath } from './home.ts'
import { fillIn, joinList, readHoles } from './layout.ts'
import { type MessageReader, MessageTree } from './message-tree.ts'
import { recoverJournal } from './recovery.ts'
import { captureMigrations } from './migrations.ts'
import type { CaptureSchema } from './schema.ts'
import { treeOf } from './session-tree.ts'
import { trajectoriesOf } from './trajectories.ts'

/** Look-ups after which others get their turn. */
const lookUpsAtOnce = 200

/** Calls, or sessions, that are read at once where all are gone through. */
const callsPerPage = 100

export interface CallFilter {
  task?: string
  session?: string
  /** Calls older (newer, with order `oldest`) than this one. */
  afterId?: string
  limit?: number
  status?: CallStatus
  /** Calls that arrived at this time or later, in milliseconds since the epoch. */
  since?: number
  /** By time of arrival; `newest` first by default. */
  order?: 'newest' | 'oldest'
}

export interface CaptureStats {
  calls: number
  sessions: number
  /** Nodes of the raw tree: messages, each counted once under the conversation that leads to it. */
  uniqueMessages: number
  /** Bytes of everything that is stored once: messages, tools and large values. */
  uniqueBytes: number
  /** Messages that the requests sent, over and over, and the replies. */
  totalMessages: number
}

/**
 * Opens the store for reading only.
 * @param readers the dialects, which give stored bytes their meaning
 * @throws ShadowError no_calls when nothing has ever been captured in this home; store_failed
 */
export async function openCaptureReader(home: string, readers: readonly Dialect[]): Promise<CaptureReader> {
  const path = capturePath(home)
  await recoverJournal(home, readers)
  if (!existsSync(path)) {
    throw new ShadowError('no_calls', `No traffic has been captured in ${home} yet.`, {
      hint: 'Start `shadow serve` and point an agent at it.',
    })
  }
  return new CaptureReader(await openDatabase(path, captureMigrations, { readonly: true }), readers)
}

export class CaptureReader {
  private readonly opened: OpenedDatabase<CaptureSchema>
  private readonly readers: readonly MessageReader[]
  private readonly catchUp: () => Promise<void>
  private replies: SqliteDatabase.Statement<[number], ReplyRow> | null = null

  /** @param catchUp resolves when everything that was committed can be read */
  constructor(
    opened: OpenedDatabase<CaptureSchema>,
    readers: readonly MessageReader[],
    catchUp: () => Promise<void> = async () => {},
  ) {
    this.opened = opened
    this.readers = readers
    this.catchUp = catchUp
  }

  async listCalls(filter: CallFilter = {}): Promise<CallSummary[]> {
    await this.catchUp()
    return (await this.filteredRows(filter).execute()).map(summaryOf)
  }

  /** The calls that a filter lets through with their conversations, the oldest first, a page in memory at a time. */
  async *conversations(filter: Omit<CallFilter, 'limit' | 'order'> = {}): AsyncGenerator<CapturedCall> {
    await this.catchUp()
    let { afterId } = filter
    for (;;) {
      const page: CallFilter = { ...filter, order: 'oldest', limit: callsPerPage }
      if (afterId !== undefined) page.afterId = afterId
      const calls = this.withConversations(await this.filteredRows(page).execute())
      yield* calls
      afterId = calls.at(-1)?.id
      if (afterId === undefined || calls.length < callsPerPage) return
    }
  }

  /** Ids of the sessions, in the order of their rows, of one task or of all. */
  async *sessionIds({ task, session }: Pick<CallFilter, 'task' | 'session'>): AsyncGenerator<string> {
    await this.catchUp()
    for (let after = 0; ; ) {
      let query = this.opened.db.selectFrom('sessions').select(['seq', 'id']).where('seq', '>', after)
      if (task !== undefined) query = query.where('task', '=', task)
      if (session !== undefined) query = query.where('id', '=', session)
      const rows = await query.orderBy('seq').limit(callsPerPage).execute()
      for (const { id } of rows) yield id
      const last = rows.at(-1)
      if (last === undefined || rows.length < callsPerPage) return
      after = last.seq
    }
  }

  /** Which of these calls are there. */
  async knownCalls(ids: readonly string[]): Promise<Set<string>> {
    await this.catchUp()
    const statement = this.opened.sqlite.prepare<[string]>('SELECT 1 FROM calls WHERE id = ?')
    return new Set(ids.filter((id) => statement.get(id) !== undefined))
  }

  private filteredRows(filter: CallFilter) {
    const { order = 'newest', limit, task, session, afterId, status, since } = filter
    let query = this.callRows().orderBy('calls.id', order === 'newest' ? 'desc' : 'asc')
    if (task !== undefined) query = query.where('calls.task', '=', task)
    if (session !== undefined) query = query.where('sessions.id', '=', session)
    if (afterId !== undefined) query = query.where('calls.id', order === 'newest' ? '<' : '>', afterId)
    if (status !== undefined) query = query.where('calls.status', '=', status)
    if (since !== undefined) query = query.where('calls.started_at', '>=', since)
    return limit === undefined ? query : query.limit(limit)
  }

  /** @throws ShadowError not_found */
  async readCall(id: string): Promise<CapturedCall> {
    await this.catchUp()
    const row = await this.callRows().where('calls.id', '=', id).executeTakeFirst()
    if (row === undefined) throw unknownCall(id)
    const [call] = this.withConversations([row])
    if (call === undefined) throw unknownCall(id)
    return call
  }

  /** Every call of a task with its conversation, in the order of arrival. Messages that calls share are one object. */
  async callsOfTask(task: string): Promise<CapturedCall[]> {
    await this.catchUp()
    return this.withConversations(
      await this.callRows().where('calls.task', '=', task).orderBy('calls.id').execute(),
    )
  }

  async callsOfSession(session: string): Promise<CapturedCall[]> {
    await this.catchUp()
    return this.withConversations(
      await this.callRows().where('sessions.id', '=', session).orderBy('calls.id').execute(),
    )
  }

  async trajectoriesOfSession(session: string): Promise<Trajectory[]> {
    return trajectoriesOf(await this.callsOfSession(session))
  }

  /**
   * A session with its calls and the tree that they make.
   * @param session its id, or what the agent called it where only one session goes by that
   * @throws ShadowError not_found; conflict where several sessions go by the name
   */
  async sessionTree(session: string): Promise<SessionTree> {
    const summary = await this.findSession(session)
    const rows = await this.callRows().where('sessions.id', '=', summary.id).orderBy('calls.id').execute()
    const calls = this.withConversations(rows)
    const tree = this.tree()
    const roots = treeOf(
      rows.map((row) => ({
        id: row.id,
        agent: row.agent,
        path: tree.steps(row.raw_node, row.dialect),
        replies: this.repliesOf(row.seq).map((reply) => ({
          index: reply.choice,
          finishReason: reply.finish_reason,
          step: tree.stepAt(reply.raw_node, row.dialect),
        })),
      })),
    )
    return {
      session: summary,
      calls: calls.map(({ messages, tools: _, replies, ...call }) => {
        const reasons = replies.map((reply) => untrainableReason({ ...call, messages }, reply))
        const isLearnable = reasons.includes(null)
        return { ...call, untrainable: isLearnable ? null : (reasons[0] ?? call.status) }
      }),
      roots,
    }
  }

  /**
   * @param idOrLabel its id, or what the agent called it
   * @throws ShadowError not_found; conflict where several sessions go by the name
   */
  async findSession(idOrLabel: string): Promise<SessionSummary> {
    await this.catchUp()
    const byId = await this.sessionRows().where('sessions.id', '=', idOrLabel).execute()
    const found = byId.length > 0 ? byId : await this.sessionRows().where('label', '=', idOrLabel).execute()
    const [session, other] = found
    if (session === undefined) {
      throw new ShadowError('not_found', `There is no session ${idOrLabel}.`, {
        hint: '`shadow sessions` lists them.',
      })
    }
    if (other === undefined) return session
    const ids = found.map(({ id, task }) => `${id} (task ${task})`)
    throw new ShadowError('conflict', `${found.length} sessions are called ${idOrLabel}.`, {
      hint: `Name one by its id: ${ids.join(', ')}.`,
    })
  }

  /** Sessions by their first call, of one task or of all. */
  async listSessions(task?: string): Promise<SessionSummary[]> {
    await this.catchUp()
    const query = this.sessionRows()
    return (task === undefined ? query : query.where('sessions.task', '=', task)).execute()
  }

  private sessionRows() {
    return this.opened.db
      .selectFrom('sessions')
      .innerJoin('calls', 'calls.session', 'sessions.seq')
      .select(({ fn }) => [
        'sessions.id',
        'sessions.task',
        'sessions.label',
        fn.min('calls.started_at').as('firstCallAt'),
        fn.max('calls.started_at').as('lastCallAt'),
        fn.countAll<number>().as('calls'),
      ])
      .groupBy('sessions.seq')
      .orderBy('firstCallAt')
      .orderBy('sessions.seq')
  }

  /** Names of the tasks that have calls. */
  async listTasks(): Promise<string[]> {
    await this.catchUp()
    const rows = await this.opened.db.selectFrom('scopes').select('task').distinct().orderBy('task').execute()
    return rows.map(({ task }) => task)
  }

  /**
   * The request's body, byte for byte as the agent sent it; without what was taken out where the call is redacted.
   * @throws ShadowError not_found
   */
  async requestBytes(id: string): Promise<Uint8Array> {
    await this.catchUp()
    const row = await this.opened.db
      .selectFrom('calls')
      .innerJoin('envelopes', 'envelopes.id', 'calls.envelope')
      .select(['calls.raw_node', 'envelopes.literal', 'envelopes.holes'])
      .where('calls.id', '=', id)
      .executeTakeFirst()
    if (row === undefined) throw unknownCall(id)
    const { tools, messages } = this.tree().bytes(row.raw_node)
    const parts = new PartReader(this.opened.sqlite)
    const partOf = this.opened.sqlite.prepare<[Buffer], { bytes: Buffer; holes: string | null }>(
      'SELECT bytes, holes FROM parts WHERE hash = ?',
    )
    const holes = readHoles(row.holes)
    const sent = holes.reduce((sum, hole) => sum + (hole.kind === 'messages' ? (hole.count ?? 0) : 0), 0)
    const own = messages.slice(messages.length - sent)
    return fillIn({ literal: row.literal, holes }, (hole) => {
      if (hole.kind === 'messages') {
        const { from, count, between } = hole
        const all = from === undefined || count === undefined
        return joinList(all ? messages : own.slice(from, from + count), between)
      }
      if (hole.kind === 'tools') return tools ?? Buffer.alloc(0)
      const part = hole.kind === 'part' ? partOf.get(Buffer.from(hole.hash, 'hex')) : undefined
      if (part !== undefined) return parts.whole(part)
      return Buffer.alloc(0)
    })
  }

  /**
   * The reply's body as it came (decoded), or as it was put together from a stream; null where nothing came.
   * @throws ShadowError not_found
   */
  async replyBytes(id: string): Promise<Uint8Array | null> {
    await this.catchUp()
    const call = await this.opened.db
      .selectFrom('calls')
      .select('seq')
      .where('id', '=', id)
      .executeTakeFirst()
    if (call === undefined) throw unknownCall(id)
    const body = await this.opened.db
      .selectFrom('reply_bodies')
      .select(['literal', 'holes'])
      .where('call', '=', call.seq)
      .executeTakeFirst()
    if (body === undefined) return null
    const messages = await this.opened.db
      .selectFrom('call_replies')
      .innerJoin('raw_nodes', 'raw_nodes.id', 'call_replies.raw_node')
      .innerJoin('parts', 'parts.id', 'raw_nodes.part')
      .select(['call_replies.place', 'parts.bytes', 'parts.holes'])
      .where('call_replies.call', '=', call.seq)
      .execute()
    const parts = new PartReader(this.opened.sqlite)
    const bytesAt = new Map(messages.map(({ place, ...part }) => [place, parts.whole(part)]))
    return fillIn({ literal: body.literal, holes: readHoles(body.holes) }, (hole) =>
      hole.kind === 'reply' ? (bytesAt.get(hole.place) ?? Buffer.alloc(0)) : Buffer.alloc(0),
    )
  }

  /** Whether every one of these calls is still there. */
  async hasCalls(ids: readonly string[]): Promise<boolean> {
    return await this.hasAll('SELECT 1 FROM calls WHERE id = ?', ids)
  }

  /** Whether every one of these canonical nodes (hex) is still there. */
  async hasNodes(nodes: readonly string[]): Promise<boolean> {
    return await this.hasAll(
      'SELECT 1 FROM nodes WHERE hash = ?',
      nodes.map((node) => Buffer.from(node, 'hex')),
    )
  }

  private async hasAll(query: string, values: readonly (string | Buffer)[]): Promise<boolean> {
    await this.catchUp()
    const statement = this.opened.sqlite.prepare<[string | Buffer]>(query)
    for (const [place, value] of values.entries()) {
      // This may be the event loop that serves agents.
      if (place % lookUpsAtOnce === lookUpsAtOnce - 1) await setImmediate()
      if (statement.get(value) === undefined) return false
    }
    return true
  }

  async stats(): Promise<CaptureStats> {
    await this.catchUp()
    const { rows } = await sql<CaptureStats>`
      SELECT (SELECT count(*) FROM calls) AS calls,
        (SELECT count(*) FROM sessions) AS sessions,
        (SELECT count(*) FROM raw_nodes WHERE depth > 0) AS uniqueMessages,
        (SELECT coalesce(sum(length(bytes)), 0) FROM parts) AS uniqueBytes,
        (SELECT coalesce(sum(depth), 0) FROM calls JOIN raw_nodes ON raw_nodes.id = calls.raw_node)
          + (SELECT count(*) FROM call_replies) AS totalMessages`.execute(this.opened.db)
    return rows[0] ?? { calls: 0, sessions: 0, uniqueMessages: 0, uniqueBytes: 0, totalMessages: 0 }
  }

  async close(): Promise<void> {
    await this.opened.close()
  }

  private tree(): MessageTree {
    return new MessageTree(this.opened.sqlite, this.readers)
  }

  private callRows() {
    return this.opened.db
      .selectFrom('calls')
      .innerJoin('sessions', 'sessions.seq', 'calls.session')
      .innerJoin('nodes', 'nodes.id', 'calls.node')
      .leftJoin('calls as parents', 'parents.seq', 'calls.parent')
      .leftJoin('calls as continued', 'continued.seq', 'calls.continues')
      .leftJoin('nodes as parent_nodes', 'parent_nodes.id', 'calls.parent_node')
      .selectAll('calls')
      .select([
        'sessions.id as session_id',
        'sessions.label as session_label',
        'nodes.hash as prompt_hash',
        'parents.id as parent_id',
        'continued.id as continued_id',
        'parent_nodes.hash as parent_hash',
      ])
  }

  private repliesOf(call: number): ReplyRow[] {
    this.replies ??= this.opened.sqlite.prepare<[number], ReplyRow>(
      `SELECT choice, raw_node, nodes.hash, finish_reason FROM call_replies
       JOIN nodes ON nodes.id = call_replies.node WHERE call = ? ORDER BY place`,
    )
    return this.replies.all(call)
  }

  private withConversations(rows: readonly CallRow[]): CapturedCall[] {
    const tree = this.tree()
    return rows.map((row) => ({
      ...summaryOf(row),
      ...tree.conversation(row.raw_node, row.dialect),
      replies: this.repliesOf(row.seq).map((reply) => ({
        index: reply.choice,
        node: reply.hash.toString('hex'),
        finishReason: reply.finish_reason,
        message: tree.messageAt(reply.raw_node, row.dialect),
      })),
    }))
  }
}

type CallRow = Awaited<ReturnType<ReturnType<CaptureReader['callRows']>['execute']>>[number]

interface ReplyRow {
  choice: number
  raw_node: number
  hash: Buffer
  finish_reason: string | null
}

function summaryOf(row: CallRow): CallSummary {
  return {
    id: row.id,
    task: row.task,
    session: row.session_id,
    label: row.session_label,
    parent: row.parent_id,
    parentNode: row.parent_hash?.toString('hex') ?? null,
    continues: row.continued_id,
    agent: row.agent,
    parentAgent: row.parent_agent,
    dialect: row.dialect,
    startedAt: row.started_at,
    status: row.status,
    httpStatus: row.http_status,
    stream: row.stream === 1,
    modelAsked: row.model_asked,
    modelAnswered: row.model_answered,
    servedBy: row.served_by,
    fallbackFrom: row.fallback_from,
    usage:
      row.prompt_tokens === null || row.completion_tokens === null || row.total_tokens === null
        ? null
        : {
            prompt_tokens: row.prompt_tokens,
            completion_tokens: row.completion_tokens,
            total_tokens: row.total_tokens,
          },
    timings: { firstByteMs: row.first_byte_ms, totalMs: row.total_ms },
    error: row.error,
    redacted: row.redacted === null ? null : redactedCounts.parse(JSON.parse(row.redacted)),
    promptNode: row.prompt_hash.toString('hex'),
  }
}

function unknownCall(id: string): ShadowError {
  return new ShadowError('not_found', `There is no call ${id}.`, { hint: '`shadow calls` lists them.' })
}
