/** The paths in turns within one run, so that whatever else the machine does meets all of them. */
import { median, type Row } from '../row.ts'
import type { Load, Measured, Path } from './path.ts'

export interface Paths {
  readonly direct: Path
  readonly relay: Path
  readonly shadow: Path
  readonly portkey: Path
  /** Resolves when Shadow has nothing left to do. */
  settle(): Promise<unknown>
}

type Name = Exclude<keyof Paths, 'settle'>
type Medians = Record<Name, Measured>

async function inTurns({ settle, ...paths }: Paths, load: Load, rounds: number): Promise<Medians> {
  const names: Name[] = ['direct', 'relay', 'shadow', 'portkey']
  const measured = new Map<Name, Measured[]>(names.map((name) => [name, []]))
  for (let round = 0; round <= rounds; round++) {
    for (const name of names) {
      const result = await paths[name].measure(load)
      // What Shadow puts off is done before the next one is measured.
      await settle()
      if (round > 0) measured.get(name)?.push(result)
    }
  }
  const middle = (name: Name): Measured => {
    const all = measured.get(name) ?? []
    return {
      p50: median(all.map(({ p50 }) => p50)),
      p99: median(all.map(({ p99 }) => p99)),
      firstByte: median(all.map(({ firstByte }) => firstByte)),
      requestsPerSecond: median(all.map(({ requestsPerSecond }) => requestsPerSecond)),
    }
  }
  return {
    direct: middle('direct'),
    relay: middle('relay'),
    shadow: middle('shadow'),
    portkey: middle('portkey'),
  }
}

/** One client: what is added to a short reply, to a long context, and to the first byte of a stream. */
export async function latencyRows(paths: Paths, rounds: number): Promise<Row[]> {
  const short = await inTurns(paths, { workload: 'short', clients: 1, requests: 300 }, rounds)
  const context = await inTurns(paths, { workload: 'context', clients: 1, requests: 150 }, rounds)
  const paced = await inTurns(paths, { workload: 'paced', clients: 1, requests: 15 }, rounds)
  const stream = await inTurns(paths, { workload: 'stream', clients: 1, requests: 60 }, rounds)
  return [
    added('proxy.p50', 'added p50, short replies, one client', short, 'p50', '<= 2 x', '<= 1.3 x', 2),
    added('proxy.p50.context', 'added p50, contexts of 4,000 tokens, one client', context, 'p50'),
    added(
      'proxy.ttfb',
      'added time to the first byte of a stream of 200 chunks, one a millisecond, one client',
      paced,
      'firstByte',
      '<= 1.5 x',
      '<= 1.15 x',
      1.5,
    ),
    // All of it comes in one or two reads, and on few cores whoever is at work goes on until it has done with all of it.
    added(
      'proxy.ttfb.rush',
      'added time to the first byte of a stream of 200 chunks, as fast as they can be sent, one client',
      stream,
      'firstByte',
    ),
    added('proxy.stream', 'added p50 of a whole stream of 200 chunks, one client', stream, 'p50'),
  ]
}

/** Many clients: throughput against the peer and the relay, and the tail. */
export async function throughputRows(paths: Paths, rounds: number): Promise<Row[]> {
  const short32 = await inTurns(paths, { workload: 'short', clients: 32, requests: 3000 }, rounds)
  const short = await inTurns(paths, { workload: 'short', clients: 64, requests: 3000 }, rounds)
  const context = await inTurns(paths, { workload: 'context', clients: 64, requests: 1000 }, rounds)
  const stream = await inTurns(paths, { workload: 'stream', clients: 64, requests: 300 }, rounds)
  const rps = (id: string, what: string, at: Medians, than: Name, bound?: [string, string, number]): Row =>
    row(
      id,
      `${what}; baseline: ${baselineNames[than]}`,
      at.shadow.requestsPerSecond,
      '1/s',
      at[than].requestsPerSecond,
      {
        ...(bound === undefined ? {} : { must: bound[0], aim: bound[1] }),
        isMet: (ratio) => bound === undefined || ratio >= bound[2],
      },
    )
  return [
    rps('proxy.rps', 'requests/s, 64 clients', short, 'portkey', ['>= 4 x', '>= 6 x', 4]),
    rps('proxy.rps.relay', 'requests/s, 64 clients', short, 'relay', ['>= 0.4 x', '>= 0.6 x', 0.4]),
    row(
      'proxy.p99',
      'p99 with 64 clients; baseline: the bare relay',
      short.shadow.p99,
      'ms',
      short.relay.p99,
      {
        must: '<= 3 x',
        aim: '<= 1.5 x',
        isMet: (ratio) => ratio <= 3,
      },
    ),
    rps('proxy.rps.32', 'requests/s, 32 clients', short32, 'relay'),
    rps('proxy.rps.context', 'requests/s, contexts of 4,000 tokens, 64 clients', context, 'relay'),
    rps('proxy.rps.stream', 'streams of 200 chunks/s, 64 clients', stream, 'relay'),
    rps('proxy.rps.stream.portkey', 'streams of 200 chunks/s, 64 clients', stream, 'portkey'),
  ]
}

/** What goes on and on: until the last call is in the tables, so that nothing of the work is put off beyond the end. */
export async function sustainedRow({ relay, shadow, settle }: Paths, rounds: number): Promise<Row> {
  const load: Load = { workload: 'short', clients: 64, requests: 20_000 }
  const rates: Record<'relay' | 'shadow', number[]> = { relay: [], shadow: [] }
  for (let round = 0; round < rounds; round++) {
    rates.relay.push((await relay.measure(load)).requestsPerSecond)
    const start = performance.now()
    await shadow.measure(load)
    await settle()
    rates.shadow.push(load.requests / ((performance.now() - start) / 1000))
  }
  return row(
    'proxy.rps.sustained',
    `requests/s, 64 clients, ${load.requests} requests until the last is in the tables; baseline: ${baselineNames.relay}`,
    median(rates.shadow),
    '1/s',
    median(rates.relay),
  )
}

const baselineNames: Record<Name, string> = {
  direct: 'without a proxy',
  relay: 'a bare node:http + undici relay that keeps nothing',
  portkey: 'Portkey, which keeps nothing',
  shadow: 'Shadow',
}

function added(
  id: string,
  what: string,
  at: Medians,
  key: 'p50' | 'firstByte',
  must?: string,
  aim?: string,
  atMost = Number.POSITIVE_INFINITY,
): Row {
  const baseline = at.relay[key] - at.direct[key]
  const text = `${what} (direct ${at.direct[key].toFixed(3)} ms, Portkey adds ${(at.portkey[key] - at.direct[key]).toFixed(3)} ms); baseline: what the bare relay adds`
  return row(id, text, at.shadow[key] - at.direct[key], 'ms', baseline, {
    ...(must === undefined ? {} : { must }),
    ...(aim === undefined ? {} : { aim }),
    isMet: (ratio) => ratio <= atMost,
  })
}

export function row(
  id: string,
  what: string,
  value: number,
  unit: string,
  baseline: number,
  { must, aim, isMet = () => true }: { must?: string; aim?: string; isMet?: (ratio: number) => boolean } = {},
): Row {
  const ratio = value / baseline
  return { id, what, value, unit, baseline, ratio, must: must ?? null, aim: aim ?? null, ok: isMet(ratio) }
}
