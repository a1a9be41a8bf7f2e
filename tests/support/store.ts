/** A real store in a folder of its own, and calls recorded in it without a proxy in between. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CallStatus } from '../../src/contract/index.ts'
import { chat, dialects } from '../../src/dialects/index.ts'
import { type CaptureStore, openCaptureStore } from '../../src/store/capture/index.ts'

export async function temporaryHome() {
  const home = await mkdtemp(join(tmpdir(), 'shadow-store-'))
  return { home, [Symbol.asyncDispose]: () => rm(home, { recursive: true, force: true }) }
}

export async function startStore() {
  const folder = await temporaryHome()
  const store = await openCaptureStore(folder.home, dialects)
  return {
    home: folder.home,
    store,
    reader: store.reader,
    async [Symbol.asyncDispose]() {
      await store.close()
      await folder[Symbol.asyncDispose]()
    },
  }
}

export interface RecordedCall {
  messages: unknown[]
  replies: unknown[]
  session?: string
  credential?: string
  task?: string
  tools?: unknown[]
  at?: number
  agent?: string
  parentAgent?: string
  status?: CallStatus
  /** Name of the dialect that the store is told. Default `chat`. */
  dialect?: string
  /** Other fields of the request. */
  fields?: Record<string, unknown>
}

let lastId = 0

/** Records one complete call. */
export async function recordCall(store: CaptureStore, call: RecordedCall) {
  const id = String(++lastId).padStart(26, '0')
  const { messages, replies, tools, at = Date.now() } = call
  const body = Buffer.from(
    JSON.stringify({ model: 'm', messages, ...(tools === undefined ? {} : { tools }), ...call.fields }),
  )
  const reply = Buffer.from(
    JSON.stringify({ choices: replies.map((message, index) => ({ index, message, finish_reason: 'stop' })) }),
  )
  const split = chat.splitRequest(body)
  await store.record({
    id,
    dialect: call.dialect ?? chat.name,
    origin: {
      task: call.task ?? 'default',
      credential: call.credential ?? null,
      sessionName: call.session ?? null,
      agent: call.agent ?? null,
      parentAgent: call.parentAgent ?? null,
    },
    request: { body, messages: split.messages, tools: split.tools, others: split.others },
    reply,
    startedAt: at,
    status: call.status ?? 'complete',
    httpStatus: 200,
    stream: false,
    modelAsked: 'm',
    servedBy: 'frontier',
    fallbackFrom: null,
    timings: { firstByteMs: 1, totalMs: 2 },
    error: null,
  })
  return { id, body, reply }
}

/** The same, and where it was placed once it is in the tables. */
export async function placedCall(store: CaptureStore, call: RecordedCall) {
  const recorded = await recordCall(store, call)
  const { session, parent, continues } = await store.reader.readCall(recorded.id)
  return { ...recorded, session, parent, continues }
}
