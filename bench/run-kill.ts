/**
 * run.kill: kill −9 inside each stage of a run on the default model, then the run again. Each kill gets a copy
 * of one home of its own.
 */
import { stageName } from '../src/contract/run.ts'
import { defaultModelName } from '../src/setup/model.mjs'
import { testHome } from '../tests/support/home.ts'
import { copyHome, type KillPoint, killInside, type Outcome, runToEnd } from '../tests/support/kill-run.ts'
import { playSessions, startTraffic, taskName, tinySettings } from '../tests/support/task-traffic.ts'
import { figure, type Row } from './row.ts'

const attempts = 10

export async function run(): Promise<Row[]> {
  await using home = await testHome()
  await using stack = new AsyncDisposableStack()
  const { client, server } = await startTraffic(home, stack)
  await playSessions(client(), 28)
  await home.shadow([
    'tasks',
    'set',
    taskName,
    ...tinySettings(defaultModelName),
    'train.learning_rate=0.002',
    'train.max_steps=8',
    'train.save_steps=2',
  ])
  await server.stop()
  await using undisturbed = await copyHome(home.path)
  const expected = await runToEnd(undisturbed, taskName)
  const points: KillPoint[] = [
    ...stageName.options.map((stage) => ({ stage })),
    { stage: 'train', afterCheckpoint: true },
  ]
  let same = 0
  let repeated = 0
  let finished = 0
  for (const point of points) {
    const outcome = await killed(home.path, point)
    finished += 1
    repeated += outcome.ranTwice.length
    if (outcome.adapterHash === expected.adapterHash && outcome.takeovers === expected.takeovers) same += 1
    console.log(`killed in ${point.stage}${point.afterCheckpoint === true ? ' after a checkpoint' : ''}`)
  }
  const all = points.length
  return [
    figure(
      'run.kill.finished',
      'runs that finish after a kill −9, one inside each stage and one after a checkpoint',
      finished,
      'runs',
      {
        must: `${all}`,
        ok: finished === all,
      },
    ),
    figure('run.kill.repeated', 'finished stages that ran twice', repeated, 'stages', {
      must: '0',
      ok: repeated === 0,
    }),
    figure('run.kill.identical', 'adapters byte-identical to the undisturbed run', same, 'runs', {
      must: `${all}`,
      ok: same === all,
    }),
  ]
}

async function killed(home: string, point: KillPoint): Promise<Outcome> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    await using copy = await copyHome(home)
    if (await killInside(copy, taskName, point)) return await runToEnd(copy, taskName)
  }
  throw new Error(`No signal came inside ${point.stage}.`)
}
