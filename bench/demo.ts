/**
 * demo: the figures of `npm run demo`, and what the judge is worth: judged answers against everything that was
 * captured, three seeds, equal steps, the same held-out sessions.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { Workplace } from '../examples/demo/workplace.ts'
import { cacheDir, packageRoot } from '../src/setup/paths.mjs'
import { figure, type Row } from './row.ts'

const seeds = [1, 2, 3]
/** Optimizer steps of each of the six trainings; about two passes over the judged set. */
const comparedSteps = 40

const demoReport = z.object({
  rows: z.array(
    z.object({
      id: z.string(),
      what: z.string(),
      value: z.number().nullable(),
      unit: z.string(),
      baseline: z.number().nullable(),
      ratio: z.number().nullable(),
      must: z.string().nullable(),
      aim: z.string().nullable(),
      ok: z.boolean(),
    }),
  ),
})

/** @param args `--no-gain` leaves the six trainings out */
export async function run(args: readonly string[]): Promise<Row[]> {
  const home = mkdtempSync(join(tmpdir(), 'shadow-bench-demo-'))
  const cache = cacheDir()
  process.env['SHADOW_CACHE'] = cache
  process.env['SHADOW_HOME'] = home
  try {
    execFileSync(process.execPath, [join(packageRoot(), 'examples', 'demo', 'main.ts')], { stdio: 'inherit' })
    const { rows } = demoReport.parse(
      JSON.parse(readFileSync(join(home, 'demo', 'demo-report.json'), 'utf8')),
    )
    return args.includes('--no-gain') ? rows : [...rows, await judgeGain()]
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
}

async function judgeGain(): Promise<Row> {
  const differences: number[] = []
  for (const seed of seeds) {
    const { judged, everything } = await compare(seed)
    differences.push(100 * (judged - everything))
    console.log(
      `seed ${seed}: judged ${(100 * judged).toFixed(1)} %, everything ${(100 * everything).toFixed(1)} %`,
    )
  }
  const mean = differences.reduce((sum, one) => sum + one, 0) / differences.length
  const each = differences.map((one) => one.toFixed(1)).join(', ')
  return figure(
    'demo.judge.gain',
    `exact match on held-out sessions, judged set minus everything captured, ${comparedSteps} steps each; by seed: ${each}`,
    mean,
    'points',
    { must: '> 0', ok: mean > 0 },
  )
}

async function compare(seed: number): Promise<{ judged: number; everything: number }> {
  await using stack = new AsyncDisposableStack()
  const options = {
    sessions: 480,
    heldOut: 160,
    fresh: 1,
    steps: comparedSteps,
    upstream: null,
    seed,
    keep: false,
  }
  const workplace = await Workplace.open(options, new AbortController().signal)
  const frontier = stack.use(await workplace.startFrontier())
  const judge = stack.use(await workplace.startJudge())
  const proxy = stack.use(await workplace.startProxy(frontier.url))
  await workplace.playAgent(proxy, 'train', 320)
  const heldOut = await workplace.playAgent(proxy, 'heldout', 160)
  await workplace.setTask(judge)
  await workplace.importReferences(heldOut)
  await workplace.shadow(['tasks', 'set', 'support-desk', `train.seed=${seed}`])
  const judged = await workplace.run(() => {})
  await workplace.shadow(['tasks', 'set', 'support-desk', 'judge=null'])
  const everything = await workplace.run(() => {})
  return { judged: judged.evaluation.scores.owned.mean, everything: everything.evaluation.scores.owned.mean }
}
