/** What a large store, a slow disk and a long life cost. */
import { fdatasyncSync, openSync, writeSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { figure, median, type Row } from '../row.ts'
import { type Load, type Measured, Path } from './path.ts'
import type { Servers } from './servers.ts'
import { row } from './side-by-side.ts'

const oneClient: Load = { workload: 'short', clients: 1, requests: 300 }

/** `synchronous: 'full'`, beside a bare append and fsync of as many bytes on the same disk. */
export async function fullRow(servers: Servers, upstream: string): Promise<Row> {
  const home = await servers.home()
  const direct = new Path(upstream)
  const full = new Path((await servers.shadow(upstream, home, 'full')).origin)
  const file = openSync(join(home, 'fsync'), 'a')
  const bytes = Buffer.alloc(1500, 0x20)
  const added: number[] = []
  const syncs: number[] = []
  for (let round = 0; round < 7; round++) {
    const withoutMs = (await direct.measure(oneClient)).p50
    added.push((await full.measure(oneClient)).p50 - withoutMs)
    syncs.push(
      median(
        Array.from({ length: 100 }, () =>
          timeOf(() => {
            writeSync(file, bytes)
            fdatasyncSync(file)
          }),
        ),
      ),
    )
  }
  await full.close()
  await direct.close()
  const beyond = median(added) - median(syncs)
  const what = `added p50 with synchronous=full beyond one append and fsync of the disk (${median(syncs).toFixed(3)} ms), one client`
  return figure('proxy.full', what, beyond, 'ms', { must: 'reported', aim: '<= 1 ms' })
}

/** 2 kB messages in conversations of twenty turns, the store closed and its WAL brought in. */
export async function diskRow(servers: Servers): Promise<Row> {
  const home = await servers.home()
  const uniqueBytes = await servers.fill(home, 60_000, 2000)
  const names = await readdir(home, { recursive: true, withFileTypes: true })
  const files = names.filter((each) => each.isFile())
  const sizes = await Promise.all(
    files.map(async ({ parentPath, name }) => (await stat(join(parentPath, name))).size),
  )
  return row(
    'proxy.disk',
    'bytes on disk, 60,000 messages of 2 kB in conversations of 20 turns, uncompressed; baseline: bytes of the unique messages',
    sizes.reduce((sum, size) => sum + size, 0),
    'bytes',
    uniqueBytes,
    { must: '<= 1.4 x', aim: '<= 1.2 x', isMet: (ratio) => ratio <= 1.4 },
  )
}

/** Every load with 1,000,000 messages in the store, in turns with an empty one. */
export async function millionRows(servers: Servers, upstream: string): Promise<Row[]> {
  const home = await servers.home()
  await servers.fill(home, 1_000_000, 200)
  const filled = await servers.shadow(upstream, home)
  const empty = await servers.shadow(upstream, await servers.home())
  const ways = { filled: new Path(filled.origin), empty: new Path(empty.origin) }
  const rows: Row[] = []
  for (const [id, load] of Object.entries(loads)) {
    const measured: Record<keyof typeof ways, Measured[]> = { filled: [], empty: [] }
    for (let round = 0; round < 12; round++) {
      for (const [name, { child }] of [
        ['filled', filled],
        ['empty', empty],
      ] as const) {
        const result = await ways[name].measure(load)
        await servers.settled(child)
        if (round >= 3) measured[name].push(result)
      }
    }
    rows.push(load.clients === 1 ? waitRow(id, load, measured) : rateRow(id, load, measured))
  }
  for (const path of Object.values(ways)) await path.close()
  return rows
}

const loads: Record<string, Load> = {
  'proxy.million': oneClient,
  'proxy.million.context': { workload: 'context', clients: 1, requests: 100 },
  'proxy.million.stream': { workload: 'stream', clients: 1, requests: 60 },
  'proxy.million.rps.32': { workload: 'short', clients: 32, requests: 2000 },
  'proxy.million.rps': { workload: 'short', clients: 64, requests: 2000 },
  'proxy.million.rps.context': { workload: 'context', clients: 64, requests: 600 },
  'proxy.million.rps.stream': { workload: 'stream', clients: 64, requests: 200 },
}

const loadNames: Record<Load['workload'], string> = {
  short: 'short replies',
  context: 'contexts of 4,000 tokens',
  stream: 'whole streams of 200 chunks',
  paced: 'streams of a chunk a millisecond',
}

type InTurns = Record<'filled' | 'empty', readonly Measured[]>

function waitRow(id: string, { workload }: Load, { filled, empty }: InTurns): Row {
  const middle = (times: readonly Measured[]) => median(times.map(({ p50 }) => p50))
  const what = `p50 with 1,000,000 messages stored, ${loadNames[workload]}, one client; baseline: with none`
  const bound = { must: '<= 1.3 x', aim: '<= 1.05 x', isMet: (ratio: number) => ratio <= 1.3 }
  return row(id, what, middle(filled), 'ms', middle(empty), workload === 'short' ? bound : {})
}

function rateRow(id: string, { workload, clients }: Load, { filled, empty }: InTurns): Row {
  const middle = (rates: readonly Measured[]) => median(rates.map((each) => each.requestsPerSecond))
  const what = `requests/s with 1,000,000 messages stored, ${loadNames[workload]}, ${clients} clients; baseline: with none`
  return row(id, what, middle(filled), '1/s', middle(empty))
}

/** Memory of the server after 200,000 requests against after 10,000. */
export async function memoryRow(servers: Servers, upstream: string): Promise<Row> {
  const { origin, child } = await servers.shadow(upstream, await servers.home())
  const path = new Path(origin)
  const many: Load = { workload: 'short', clients: 64, requests: 10_000 }
  await path.measure(many)
  const early = await servers.memory(child)
  for (let round = 1; round < 20; round++) await path.measure(many)
  const late = await servers.memory(child)
  await path.close()
  return row(
    'proxy.memory',
    'resident memory of the server after 200,000 requests by 64 clients, its tables caught up and garbage collected; baseline: after 10,000',
    late / 2 ** 20,
    'MiB',
    early / 2 ** 20,
    { must: '<= 1.1 x', isMet: (ratio) => ratio <= 1.1 },
  )
}

function timeOf(work: () => void): number {
  const start = performance.now()
  work()
  return performance.now() - start
}
