/** `shadow calls import`: lines that `shadow calls export` wrote, or that other tools wrote for fine-tuning. */
import { createHash } from 'node:crypto'
import { constants, createReadStream } from 'node:fs'
import { access } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { setImmediate } from 'node:timers/promises'
import { ShadowClient } from '../../client/client.ts'
import { type ChatMessage, defaultTask, type Imported } from '../../contract/index.ts'
import { chat, dialects } from '../../dialects/index.ts'
import { messageOf, ShadowError } from '../../lib/error.ts'
import { type CaptureStore, openCaptureStore } from '../../store/capture/index.ts'
import type { Redactor } from '../../store/redaction/redactor.ts'
import { redactorFor } from '../serving/redaction-table.ts'
import { findServer } from '../server-file.ts'
import type { Workspace } from '../workspace.ts'
import { type CallLine, callLine } from './call-line.ts'

/** Lines that are checked, and sent to a server, at once. */
const linesPerBatch = 200

/**
 * Imports a file; doing it again changes nothing.
 * @param task for lines that name none
 * @throws ShadowError invalid_file naming the line; those before it are imported
 */
export async function importCalls(
  workspace: Workspace,
  path: string,
  task: string = defaultTask,
): Promise<Imported> {
  await access(path, constants.R_OK).catch((cause: unknown) => {
    throw new ShadowError('invalid_file', `Can't read ${path}: ${messageOf(cause)}.`, { cause })
  })
  const server = await findServer(workspace.home)
  if (server !== null) {
    const client = new ShadowClient(server)
    return await importLines(path, (lines) => client.importCalls(lines, task))
  }
  const store = await openCaptureStore(workspace.home, dialects)
  try {
    return await importLines(path, (lines) => importBatch(workspace, store, lines, task))
  } finally {
    await store.close()
  }
}

async function importLines(
  path: string,
  take: (lines: readonly string[]) => Promise<Imported>,
): Promise<Imported> {
  const total: Imported = { added: 0, known: 0 }
  let batch: string[] = []
  let number = 0
  const flush = async (): Promise<void> => {
    const { added, known } = await take(batch)
    total.added += added
    total.known += known
    batch = []
  }
  for await (const line of createInterface({
    input: createReadStream(path),
    crlfDelay: Number.POSITIVE_INFINITY,
  })) {
    number++
    if (line.trim() === '') continue
    check(line, `line ${number} of ${path}`)
    batch.push(line)
    if (batch.length === linesPerBatch) await flush()
  }
  if (batch.length > 0) await flush()
  return total
}

function check(line: string, where: string): CallLine {
  try {
    const read = callLine.parse(JSON.parse(line))
    if (read.messages.length === 0) throw new Error('it holds no message')
    if (read.shadow === undefined && read.messages.at(-1)?.role !== 'assistant') {
      throw new Error('its last message is not the assistant’s')
    }
    return read
  } catch (cause) {
    throw new ShadowError('invalid_file', `${where} is no call: ${messageOf(cause)}.`, {
      hint: 'Each line is {"messages": […]} as for fine-tuning, or a line of `shadow calls export`.',
      cause,
    })
  }
}

/** Runs where the store is, the server's event loop included: others get their turn after every call. */
export async function importBatch(
  { pipeline }: Pick<Workspace, 'pipeline'>,
  store: CaptureStore,
  lines: readonly string[],
  task: string,
): Promise<Imported> {
  const calls = lines.map((line, place) => named(check(line, `line ${place + 1} of the batch`), line, task))
  const known = await store.reader.knownCalls(calls.map(({ shadow }) => shadow.id))
  const common = (await pipeline.settings.store()).redaction
  const rules = new Map((await pipeline.tasks.list()).map(({ name, config }) => [name, config.redaction]))
  let added = 0
  for (const call of calls) {
    if (known.has(call.shadow.id)) continue
    known.add(call.shadow.id)
    added++
    const own = rules.get(call.shadow.task)
    await record(store, call, redactorFor(common, ...(own === undefined ? [] : [own])))
    await setImmediate()
  }
  return { added, known: calls.length - added }
}

type NamedLine = CallLine & { shadow: NonNullable<CallLine['shadow']> }

/** A line of another tool becomes a call of its own, named by what it holds. */
function named(line: CallLine, text: string, task: string): NamedLine {
  if (line.shadow !== undefined) return { ...line, shadow: line.shadow }
  const id = `0000000000${createHash('sha256').update(`${task}\0${text}`).digest('hex').slice(0, 16).toUpperCase()}`
  return {
    ...line,
    shadow: {
      id,
      task,
      session: id,
      label: null,
      parent: null,
      continues: null,
      agent: null,
      parentAgent: null,
      startedAt: Date.now(),
      status: 'complete',
      httpStatus: null,
      stream: false,
      modelAsked: 'imported',
      modelAnswered: null,
      servedBy: 'imported',
      fallbackFrom: null,
      usage: null,
      timings: { firstByteMs: null, totalMs: 0 },
      error: null,
      redacted: null,
      replies: [{ index: 0, finishReason: 'stop' }],
    },
  }
}

async function record(
  store: CaptureStore,
  { messages, tools, shadow }: NamedLine,
  redactor: Redactor | null,
) {
  const { replies, session, label, parent, continues, agent, parentAgent, task, redacted, ...rest } = shadow
  const { modelAnswered, usage, ...facts } = rest
  const counts = { ...redacted }
  const kept = (value: unknown): Uint8Array => {
    const bytes = Buffer.from(JSON.stringify(value))
    return redactor === null ? bytes : redactor.json(bytes, counts)
  }
  const said = replies.map((reply, place) => ({
    ...reply,
    message: place === 0 ? messages.at(-1) : reply.message,
  }))
  const asked = replies.length === 0 ? messages : messages.slice(0, -1)
  const body = kept({ model: facts.modelAsked, messages: asked, ...(tools === undefined ? {} : { tools }) })
  const split = chat.splitRequest(body)
  const reply = replies.length === 0 ? null : replyBody(rest, said, kept)
  await store.record({
    ...facts,
    dialect: chat.name,
    origin: {
      task,
      credential: null,
      sessionName: null,
      label,
      agent,
      parentAgent,
      known: { session, edges: { parent, continues } },
    },
    redacted: Object.keys(counts).length === 0 ? null : counts,
    answer: { model: modelAnswered, usage },
    request: { body, messages: split.messages, tools: split.tools, others: split.others },
    reply,
  })
}

function replyBody(
  { modelAnswered, modelAsked, usage }: Pick<NamedLine['shadow'], 'modelAnswered' | 'modelAsked' | 'usage'>,
  replies: readonly { index: number; finishReason: string | null; message: ChatMessage | undefined }[],
  kept: (value: unknown) => Uint8Array,
): Uint8Array {
  return kept({
    object: 'chat.completion',
    model: modelAnswered ?? modelAsked,
    choices: replies.map(({ index, finishReason, message }) => ({
      index,
      message,
      finish_reason: finishReason,
    })),
    ...(usage === null ? {} : { usage }),
  })
}
