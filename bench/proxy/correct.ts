/** What must be right before it is fast: edges of the tree, bytes of both directions, records after kill -9. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { packageRoot } from '../../src/setup/paths.mjs'
import { replayCassettes } from '../../tests/support/replayed-cassettes.ts'
import { replayEpisodes } from '../../tests/support/replayed-episodes.ts'
import { figure, type Row, rowSchema } from '../row.ts'

/** proxy.merge: F1 over edges of an agent's episodes, each replayed in turn with all the others. */
export async function mergeRows(): Promise<Row[]> {
  const ways = [
    { id: 'headers', how: 'with session headers', isNamed: true, isRewriting: false, least: 1 },
    { id: 'bare', how: 'without any', isNamed: false, isRewriting: false, least: 0.99 },
    {
      id: 'rewritten',
      how: 'with headers, histories rewritten',
      isNamed: true,
      isRewriting: true,
      least: 0.995,
    },
  ]
  const rows: Row[] = []
  for (const { id, how, isNamed, isRewriting, least } of ways) {
    const { episodes, f1, wanted, source } = await replayEpisodes(isNamed, isRewriting)
    const what = `edge F1 over ${wanted} edges of ${episodes} ${source} episodes, interleaved, ids renumbered, ${how}`
    rows.push(figure(`proxy.merge.${id}`, what, f1, 'F1', { must: `>= ${least}`, ok: f1 >= least }))
  }
  return rows
}

/** proxy.bytes: recorded exchanges through the proxy. */
export async function byteRows(): Promise<Row[]> {
  const { exchanges, captured, different, notRebuilt, source } = await replayCassettes()
  const row = (id: string, what: string, value: number) =>
    figure(`proxy.bytes.${id}`, what, value, 'exchanges', { must: '0', ok: value === 0 })
  return [
    row('passed', `${source} exchanges of ${exchanges} whose body or headers differ`, different.length),
    row('rebuilt', `requests of ${captured} on record that aren't rebuilt byte for byte`, notRebuilt.length),
  ]
}

/** proxy.kill, as the chaos suite's last full run left it. */
export function killRow(): Row {
  const path = join(packageRoot(), 'bench', 'results', 'chaos.json')
  const { command, date, rows } = z
    .object({ command: z.string(), date: z.string(), rows: z.array(rowSchema) })
    .parse(JSON.parse(readFileSync(path, 'utf8')))
  const killed = rows.find(({ id }) => id === 'chaos.kill')
  return killed === undefined
    ? figure('proxy.kill', 'no figure in chaos.json: run npm run test:chaos', null, 'calls', { must: '0' })
    : { command, date, ...killed, id: 'proxy.kill' }
}
