/**
 * banking77: 2,000 training utterances captured through the proxy, 500 test utterances held out, one run. The
 * data set is read from ../shared/data/banking77, or from the folder that BANKING77_DATA names.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { z } from 'zod'
import { packageRoot } from '../src/setup/paths.mjs'
import { testHome } from '../tests/support/home.ts'
import { startServer } from '../tests/support/task-traffic.ts'
import { figure, type Row } from './row.ts'

const exec = promisify(execFile)
const goldPort = 8471

const estimate = z.object({ mean: z.number(), low: z.number(), high: z.number() })
const runResult = z.object({
  stages: z.array(
    z.object({
      name: z.string(),
      tookMs: z.number(),
      facts: z.record(z.string(), z.union([z.string(), z.number()])),
    }),
  ),
  evaluation: z.object({
    calls: z.number(),
    scores: z.object({ base: estimate, nearest: estimate, owned: estimate }),
  }),
  decision: z.object({ sentence: z.string() }),
})

/** @param settings of the task, over the defaults: `train.num_train_epochs=2` */
export async function run(settings: readonly string[]): Promise<Row[]> {
  const root = packageRoot()
  const data = process.env['BANKING77_DATA'] ?? join(root, '..', 'shared', 'data', 'banking77')
  if (!existsSync(data)) {
    return [figure('banking77', `not measured: there is no ${data}`, null, '%', { must: '≥ 77', ok: false })]
  }
  await using home = await testHome()
  const chats = join(home.path, 'banking77.jsonl')
  const example = (name: string, ...args: string[]) =>
    exec(process.execPath, [join(root, 'examples', 'replay', name), ...args], { env: home.env })
  await example('banking77.ts', '--data', data, '--out', chats)
  const server = await startServer(home, `http://127.0.0.1:${goldPort}/v1`)
  await example(
    'main.ts',
    chats,
    '--base-url',
    `${server.url}/v1`,
    '--task',
    'banking77',
    '--gold-server',
    `${goldPort}`,
  )
  await home.shadow(['tasks', 'set', 'banking77', 'holdOut.sessions=500', ...settings])
  const running = home.start(['run', '--task', 'banking77', '--json'])
  const { code, stdout, stderr } = await running.finished
  if (code !== 0) throw new Error(`The run failed: ${stdout}\n${stderr}`)
  process.stdout.write(stdout)
  const { stages, evaluation, decision } = runResult.parse(JSON.parse(stdout.trim().split('\n').at(-1) ?? ''))
  const trained = stages.find((stage) => stage.name === 'train')
  const minutes = (trained?.tookMs ?? Number.NaN) / 60_000
  const { owned, base, nearest } = evaluation.scores
  const what = `exact match on ${evaluation.calls} held-out utterances; ${decision.sentence}`
  return [
    figure('banking77.owned', what, 100 * owned.mean, '%', { must: '≥ 77', ok: owned.mean >= 0.77 }),
    figure('banking77.base', 'the base model under the same instruction', 100 * base.mean, '%'),
    figure('banking77.nearest', 'nearest-neighbour look-up', 100 * nearest.mean, '%'),
    figure('banking77.train_time', 'the train stage', minutes, 'min', { must: '≤ 45', ok: minutes <= 45 }),
    figure(
      'banking77.train_speed',
      'median tokens a second of training',
      Number(trained?.facts['tokens/s']),
      'tokens/s',
    ),
  ]
}
