/**
 * What the proxy costs: one client against a stand-in upstream on the loopback, directly, through a bare relay
 * that keeps nothing, and through Shadow with every call on disk before its reply ends. Servers run in processes
 * of their own; the three paths take turns in one run, so that whatever else the machine does meets all of them.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Pool } from 'undici'
import { dialects } from '../src/dialects/index.ts'
import { openCaptureReader } from '../src/store/capture/index.ts'
import { median, type Row } from './row.ts'

const rounds = 15
const requestsPerRound = 200
const warmUpRequests = 600

export async function run(): Promise<Row[]> {
  const home = await mkdtemp(join(tmpdir(), 'shadow-bench-'))
  const children: ChildProcess[] = []
  const start = async (file: string, env: Record<string, string> = {}): Promise<string> => {
    const child = fork(join(import.meta.dirname, 'proxy', file), { env: { ...process.env, ...env } })
    children.push(child)
    return `http://127.0.0.1:${await portOf(child)}`
  }
  try {
    const direct = await start('upstream.ts')
    const relay = await start('relay.ts', { BENCH_UPSTREAM: direct })
    const shadow = await start('shadow.ts', { BENCH_UPSTREAM: direct, BENCH_HOME: home })
    const paths = [direct, relay, shadow].map((origin) => new Path(origin))
    for (const path of paths) await path.measure(warmUpRequests)
    const medians: number[][] = paths.map(() => [])
    for (let round = 0; round < rounds; round++) {
      for (const [place, path] of paths.entries()) medians[place]?.push(await path.measure(requestsPerRound))
    }
    for (const path of paths) await path.close()
    const [directMs = 0, relayMs = 0, shadowMs = 0] = medians.map(median)
    await stop(children)
    const captured = await callsIn(home)
    const sent = warmUpRequests + rounds * requestsPerRound
    const baseline = relayMs - directMs
    const added = shadowMs - directMs
    const ratio = added / baseline
    return [
      {
        id: 'proxy.p50',
        what: `added p50 with one client, every call committed (${captured} of ${sent} on record; direct ${directMs.toFixed(3)} ms); baseline: a bare node:http + undici relay`,
        value: added,
        unit: 'ms',
        baseline,
        ratio,
        must: '<= 3 x',
        aim: null,
        ok: ratio <= 3 && captured === sent,
      },
    ]
  } finally {
    await stop(children)
    await rm(home, { recursive: true, force: true })
  }
}

/** One way to the upstream, and one client that goes it. */
class Path {
  private readonly client: Pool
  private sent = 0

  constructor(origin: string) {
    this.client = new Pool(origin, { connections: 1 })
  }

  /** Median time of a request in milliseconds. */
  async measure(requests: number): Promise<number> {
    const times: number[] = []
    for (let index = 0; index < requests; index++) {
      const body = JSON.stringify({
        model: 'stand-in',
        messages: [
          { role: 'system', content: 'You are a helpful assistant for a small shop that sells bicycles.' },
          { role: 'user', content: `Question ${this.sent++}: which tyre fits a wheel of 28 inches?` },
        ],
      })
      const start = performance.now()
      const reply = await this.client.request({
        path: '/v1/chat/completions',
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: 'Bearer sk-bench' },
        body,
      })
      await reply.body.text()
      times.push(performance.now() - start)
      if (reply.statusCode !== 200) throw new Error(`A request was answered with status ${reply.statusCode}.`)
    }
    return median(times)
  }

  close(): Promise<void> {
    return this.client.close()
  }
}

async function callsIn(home: string): Promise<number> {
  const reader = await openCaptureReader(home, dialects)
  const { calls } = await reader.stats()
  await reader.close()
  return calls
}

async function stop(children: ChildProcess[]): Promise<void> {
  const ended = children.splice(0).map((child) => {
    const exit = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    return exit
  })
  await Promise.all(ended)
}

function portOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('message', (port) => resolve(Number(port)))
    child.once('exit', (code) => reject(new Error(`A server of the benchmark ended with code ${code}.`)))
  })
}
