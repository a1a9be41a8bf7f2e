/**
 * `npm run bench -- store`: how long the store holds the event loop while calls come in, checkpoints, a retention
 * included, and what deleting, verifying and redacting cost.
 */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setImmediate } from 'node:timers/promises'
import { redaction, redactionKind } from '../src/contract/index.ts'
import { dialects } from '../src/dialects/index.ts'
import { type CaptureStore, checkCapture, openCaptureStore } from '../src/store/capture/index.ts'
import { Redactor } from '../src/store/redaction/redactor.ts'
import { watchLoop } from '../tests/support/loop-blocks.ts'
import { recordCall } from '../tests/support/store.ts'
import { figure, median, type Row } from './row.ts'

const calls = 1500
const rounds = 5
const messageBytes = 2000

export async function run(): Promise<Row[]> {
  const home = await mkdtemp(join(tmpdir(), 'shadow-bench-store-'))
  const store = await openCaptureStore(home, dialects)
  try {
    await record(store, 'warm', 500)
    const load: Held[] = []
    const both: Held[] = []
    const pruning = { before: null, maxBytes: null, tasks: { old: { before: null, maxCalls: 200 } } }
    for (let round = 0; round < rounds; round++) {
      load.push(await heldBy(() => record(store, 'load', calls)))
      await record(store, 'old', 600)
      await store.reader.stats()
      both.push(
        await heldBy(async () => {
          const retention = store.retain(pruning)
          await record(store, 'new', 400)
          await retention
        }),
      )
    }
    const { id } = await store.reader.findSession('load 1')
    const beforeDeletion = performance.now()
    await store.delete({ sessions: [id] })
    const deletionMs = performance.now() - beforeDeletion
    await store.reader.stats()
    const beforeCheck = performance.now()
    const checks = checkCapture(home, dialects)
    const checkMs = performance.now() - beforeCheck
    const checked = checks.reduce((sum, check) => sum + check.checked, 0)
    const damaged = checks.reduce((sum, check) => sum + check.damaged, 0)
    return [
      held('store.loop', `${calls} calls of ${messageBytes} bytes a message, checkpoints included`, load),
      held('store.loop.retention', '400 calls while as many expire', both),
      figure(
        'store.loop.writer',
        'longest piece under the first load in which no garbage was collected, the load generator’s or the store’s',
        median(load.map((each) => each.cpuMsWithoutGc)),
        'ms',
      ),
      figure(
        'store.loop.delay',
        'p99 of the loop’s delay under that load, on the clock (monitorEventLoopDelay)',
        median(load.map(({ delayMs }) => delayMs)),
        'ms',
      ),
      figure(
        'store.delete',
        'one session of 75 calls deleted from every file, among 11,000 calls',
        deletionMs,
        'ms',
      ),
      figure(
        'store.check',
        `every record verified, for 1,000 of ${checked}`,
        (checkMs / checked) * 1000,
        'ms',
        {
          must: 'nothing is found damaged',
          ok: damaged === 0,
        },
      ),
      figure('store.redact', 'all kinds taken out of a body of 10 kB, on the event loop', redactMs(), 'ms'),
    ]
  } finally {
    await store.close()
    await rm(home, { recursive: true, force: true })
  }
}

interface Held {
  cpuMs: number
  cpuMsWithoutGc: number
  wallMs: number
  delayMs: number
}

function held(id: string, what: string, times: readonly Held[]): Row {
  const cpuMs = median(times.map((each) => each.cpuMs))
  const wallMs = Math.min(...times.map((each) => each.wallMs))
  const clock = `median of ${rounds} rounds; on the clock ${wallMs.toFixed(1)} ms in the quietest`
  const must = { must: '≤ 5 ms of the thread’s own time', ok: cpuMs <= 5 }
  return figure(id, `longest piece of the event loop: ${what} (${clock})`, cpuMs, 'ms', must)
}

async function heldBy(work: () => Promise<unknown>): Promise<Held> {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  const watch = watchLoop()
  delay.enable()
  await work()
  delay.disable()
  const { turns: _, ...blocks } = await watch.stop()
  return { ...blocks, delayMs: delay.percentile(99) / 1e6 }
}

/** As agents do: a hundred sessions, each going on from its own last reply for a while. */
async function record(store: CaptureStore, name: string, count: number): Promise<void> {
  const histories = new Map<number, unknown[]>()
  const text = () => randomBytes(messageBytes / 2).toString('hex')
  for (let index = 0; index < count; index++) {
    const session = index % 100
    const before = histories.get(session) ?? []
    const messages = [...(before.length > 12 ? [] : before), { role: 'user', content: text() }]
    const reply = { role: 'assistant', content: text() }
    await recordCall(store, { messages, replies: [reply], session: `${name} ${session}`, task: name })
    histories.set(session, [...messages, reply])
    await setImmediate()
  }
}

function redactMs(): number {
  const redactor = new Redactor(redaction.parse({ kinds: redactionKind.options }))
  const content = 'The quick brown fox 12 jumps over it, again and again, 3 times. '.repeat(8)
  const messages = Array.from({ length: 20 }, () => ({ role: 'user', content }))
  const body = Buffer.from(JSON.stringify({ model: 'm', messages }))
  for (let round = 0; round < 200; round++) redactor.json(body, {})
  const times = 300
  const before = process.threadCpuUsage().user
  for (let round = 0; round < times; round++) redactor.json(body, {})
  return (process.threadCpuUsage().user - before) / 1000 / times
}
