/**
 * The chaos suite in full: the proxy is killed a thousand times under load, its upstream fails in every way, and
 * thousands of connections say nothing. `-- 100` kills a hundred times, `-- NAME…` runs only these parts. Short forms
 * are in tests/proxy.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { dialects } from '../src/dialects/index.ts'
import { openCaptureReader } from '../src/store/capture/index.ts'
import { killUnderLoad, startProxyChild } from '../tests/support/chaos.ts'
import { askFaultyUpstream, faults, startFaultyUpstream } from '../tests/support/fault-storm.ts'
import { startStandIn } from '../tests/support/stand-in-upstream.ts'
import { figure, type Row } from './row.ts'

const defaultKills = 1000
const idleConnections = 5000
const faultyCalls = 5000
const largeBytes = 100_000_000

export async function run(args: readonly string[]): Promise<Row[]> {
  const kills = Number(args.find((each) => /^[0-9]+$/.test(each)) ?? defaultKills)
  const parts = { kill: () => killRow(kills), faults: faultRow, large: largeRow, idle: idleRow }
  const asked = args.filter((each) => !/^[0-9]+$/.test(each))
  const unknown = asked.filter((each) => !Object.hasOwn(parts, each))
  if (unknown.length > 0)
    throw new Error(`There is no part ${unknown.join(', ')}: ${Object.keys(parts).join(', ')}.`)
  const rows: Row[] = []
  for (const [name, part] of Object.entries(parts)) {
    if (asked.length === 0 || asked.includes(name)) rows.push(await part())
  }
  return rows
}

async function killRow(kills: number): Promise<Row> {
  const home = await mkdtemp(join(tmpdir(), 'shadow-chaos-'))
  try {
    const report = await killUnderLoad(home, kills, 8, (kill, finished) => {
      if (kill % 50 === 0) console.error(`${kill} kills, ${finished} replies`)
    })
    return figure(
      'chaos.kill',
      `completed replies without a record after ${report.kills} kill -9 under load of 8 clients (${report.finished} replies completed, ${report.wrong.length} with a wrong record)`,
      report.lost.length,
      'calls',
      { must: '0', ok: report.lost.length === 0 && report.wrong.length === 0 && report.kills >= kills },
    )
  } finally {
    await rm(home, { recursive: true, force: true })
  }
}

async function faultRow(): Promise<Row> {
  const home = await mkdtemp(join(tmpdir(), 'shadow-chaos-'))
  await using upstream = await startFaultyUpstream()
  const proxy = await startProxyChild(home, upstream.baseUrl, { IDLE_MS: '200' })
  const asked = await askFaultyUpstream(proxy.origin, faultyCalls, 64, 3)
  await proxy.kill()
  const reader = await openCaptureReader(home, dialects)
  const statuses = new Map((await reader.callsOfTask('default')).map(({ id, status }) => [id, status]))
  await reader.close()
  await rm(home, { recursive: true, force: true })
  const wrong = asked.filter(({ fault, call }) => statuses.get(call ?? '') !== faults[fault])
  return figure(
    'chaos.faults',
    `calls recorded as something else than what their upstream did, of ${asked.length} with resets, stalls, half lines, short bodies, 429, 503 and garbage`,
    wrong.length,
    'calls',
    { must: '0', ok: wrong.length === 0 && asked.length === faultyCalls },
  )
}

async function largeRow(): Promise<Row> {
  const home = await mkdtemp(join(tmpdir(), 'shadow-chaos-'))
  const standIn = await startStandIn()
  const proxy = await startProxyChild(home, standIn.baseUrl)
  const content = 'x'.repeat(largeBytes)
  const start = performance.now()
  const reply = await fetch(`${proxy.origin}/v1/chat/completions`, {
    method: 'POST',
    body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content }] }),
  })
  await reply.text()
  const tookMs = performance.now() - start
  const arrived = standIn.seen[0]?.body.length ?? 0
  await proxy.kill()
  await standIn.close()
  const reader = await openCaptureReader(home, dialects)
  const calls = await reader.callsOfTask('default')
  await reader.close()
  await rm(home, { recursive: true, force: true })
  const isRecorded = calls.length === 1 && calls[0]?.status === 'complete'
  return figure('chaos.large', 'time of a call with a body of 100 MB, passed on and recorded', tookMs, 'ms', {
    must: 'passed and recorded',
    ok: reply.status === 200 && arrived > largeBytes && isRecorded,
  })
}

async function idleRow(): Promise<Row> {
  const home = await mkdtemp(join(tmpdir(), 'shadow-chaos-'))
  await using upstream = await startFaultyUpstream()
  const proxy = await startProxyChild(home, upstream.baseUrl)
  const { port } = new URL(proxy.origin)
  const idle: Socket[] = []
  for (let index = 0; index < idleConnections; index++) {
    idle.push(
      await new Promise<Socket>((resolve, reject) => {
        const socket = connect(Number(port), '127.0.0.1', () => resolve(socket))
        socket.once('error', reject)
      }),
    )
  }
  const start = performance.now()
  const asked = await askFaultyUpstream(proxy.origin, 1, 1, 1)
  const tookMs = performance.now() - start
  for (const socket of idle) socket.destroy()
  await proxy.kill()
  await rm(home, { recursive: true, force: true })
  return figure(
    'chaos.idle',
    `time of a call beside ${idleConnections} connections that say nothing`,
    asked.length === 1 ? tookMs : null,
    'ms',
    { must: '<= 1000', ok: tookMs <= 1000 },
  )
}
