/**
 * What the proxy costs, beside a bare relay that keeps nothing and beside Portkey's gateway: the same stand-in
 * upstream, the same load, in turns within one run, on the same cores. `-- proxy NAME…` runs only these parts, `quick`
 * the first two with fewer rounds.
 */
import { diskRow, fullRow, memoryRow, millionRows } from './proxy/at-size.ts'
import { byteRows, killRow, mergeRows } from './proxy/correct.ts'
import { Path } from './proxy/path.ts'
import { portkeyHeaders } from './proxy/portkey.ts'
import { Servers } from './proxy/servers.ts'
import { latencyRows, type Paths, sustainedRow, throughputRows } from './proxy/side-by-side.ts'
import type { Row } from './row.ts'

const rounds = 9
const fewRounds = 3

const parts: Record<string, () => Promise<Row[]>> = {
  latency: () => sideBySide((paths) => latencyRows(paths, rounds)),
  throughput: () =>
    sideBySide(async (paths) => [
      ...(await throughputRows(paths, rounds)),
      await sustainedRow(paths, fewRounds),
    ]),
  correct: async () => [killRow(), ...(await mergeRows()), ...(await byteRows())],
  full: () => alone(async (servers, upstream) => [await fullRow(servers, upstream)]),
  disk: () => alone(async (servers) => [await diskRow(servers)]),
  million: () => alone(millionRows),
  memory: () => alone(async (servers, upstream) => [await memoryRow(servers, upstream)]),
}

export async function run(args: readonly string[]): Promise<Row[]> {
  if (args.includes('quick')) {
    return sideBySide(async (paths) => [
      ...(await latencyRows(paths, fewRounds)),
      ...(await throughputRows(paths, fewRounds)),
    ])
  }
  const names = args.length === 0 ? Object.keys(parts) : args
  const rows: Row[] = []
  for (const name of names) {
    const part = parts[name]
    if (part === undefined) {
      throw new Error(`There is no part ${name}: ${Object.keys(parts).join(', ')}, quick.`)
    }
    rows.push(...(await part()))
  }
  return rows
}

async function sideBySide(measure: (paths: Paths) => Promise<Row[]>): Promise<Row[]> {
  const { servers, direct, relay } = await Servers.start()
  await using _ = servers
  const { origin, child } = await servers.shadow(direct, await servers.home())
  const ways = {
    direct: new Path(direct),
    relay: new Path(relay),
    shadow: new Path(origin),
    portkey: new Path(await servers.portkey(), portkeyHeaders(direct)),
  }
  const rows = await measure({ ...ways, settle: () => servers.settled(child) })
  for (const path of Object.values(ways)) await path.close()
  return rows
}

async function alone(measure: (servers: Servers, upstream: string) => Promise<Row[]>): Promise<Row[]> {
  const { servers, direct } = await Servers.start()
  await using _ = servers
  return await measure(servers, direct)
}
