/** What a large store, a slow disk and a long life cost. */
import { fdatasyncSync, openSync, writeSync } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { figure, median, type Row } from '../row.ts'
import { type Load, Path } from './path.ts'
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

/** One client's p50 with 1,000,000 messages in the store, in turns with an empty one. */
export async function millionRow(servers: Servers, upstream: string): Promise<Row> {
  const home = await servers.home()
  await servers.fill(home, 1_000_000, 200)
  const filled = new Path((await servers.shadow(upstream, home)).origin)
  const empty = new Path((await servers.shadow(upstream, await servers.home())).origin)
  const times: [number[], number[]] = [[], []]
  for (let round = 0; round < 12; round++) {
    const [ofFilled, ofEmpty] = [await filled.measure(oneClient), await empty.measure(oneClient)]
    if (round < 3) continue
    times[0].push(ofFilled.p50)
    times[1].push(ofEmpty.p50)
  }
  await filled.close()
  await empty.close()
  return row(
    'proxy.million',
    'p50 with 1,000,000 messages stored, one client; baseline: with none',
    median(times[0]),
    'ms',
    median(times[1]),
    { must: '<= 1.3 x', aim: '<= 1.05 x', isMet: (ratio) => ratio <= 1.3 },
  )
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
