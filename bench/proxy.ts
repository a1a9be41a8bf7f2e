/**
 * What the proxy costs, beside a bare relay that keeps nothing and beside Portkey's gateway: the same stand-in
 * upstream, the same load, in turns within one run, on the same cores. `quick` leaves the long rows out, `correct`
 * those that take time.
 */
import { diskRow, fullRow, memoryRow, millionRow } from './proxy/at-size.ts'
import { byteRows, killRow, mergeRows } from './proxy/correct.ts'
import { Path } from './proxy/path.ts'
import { portkeyHeaders } from './proxy/portkey.ts'
import { Servers } from './proxy/servers.ts'
import { latencyRows, throughputRows } from './proxy/side-by-side.ts'
import type { Row } from './row.ts'

export async function run(args: readonly string[]): Promise<Row[]> {
  const right = async () => [killRow(), ...(await mergeRows()), ...(await byteRows())]
  if (args.includes('correct')) return await right()
  const rounds = args.includes('quick') ? 3 : 9
  const { servers, direct, relay } = await Servers.start()
  await using _ = servers
  const { origin, child } = await servers.shadow(direct, await servers.home())
  const ways = {
    direct: new Path(direct),
    relay: new Path(relay),
    shadow: new Path(origin),
    portkey: new Path(await servers.portkey(), portkeyHeaders(direct)),
  }
  const paths = { ...ways, settle: () => servers.settled(child) }
  const rows = [...(await latencyRows(paths, rounds)), ...(await throughputRows(paths, rounds))]
  for (const path of Object.values(ways)) await path.close()
  if (args.includes('quick')) return rows
  return [
    ...rows,
    ...(await right()),
    await fullRow(servers, direct),
    await diskRow(servers),
    await millionRow(servers, direct),
    await memoryRow(servers, direct),
  ]
}
