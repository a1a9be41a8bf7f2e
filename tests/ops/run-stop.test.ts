import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { trainConfig } from '../../src/contract/train-config.ts'
import { toJsonLines } from '../../src/lib/files.ts'
import { runTraining } from '../../src/ops/training-process.ts'
import type { TrainJob } from '../../trainers/protocol.ts'
import { type TestHome, testHome } from '../support/home.ts'
import { copyHome, runToEnd } from '../support/kill-run.ts'
import { childrenOf } from '../support/processes.ts'
import { playSessions, startTraffic, taskName, tinySettings } from '../support/task-traffic.ts'
import { writeTinyModel } from '../support/tiny-model.ts'
import { conversations } from '../trainers/tiny-training.ts'

/** What a training in a home has written. */
function trained(home: TestHome): { lines: number; checkpoints: string[] } {
  const work = join(home.path, 'work', taskName)
  const folders = existsSync(work) ? readdirSync(work).filter((name) => name.startsWith('train-')) : []
  const [folder] = folders.map((name) => join(work, name))
  if (folder === undefined || !existsSync(join(folder, 'metrics.ndjson')))
    return { lines: 0, checkpoints: [] }
  return {
    lines: readFileSync(join(folder, 'metrics.ndjson'), 'utf8').split('\n').length - 1,
    checkpoints: readdirSync(folder).filter((name) => name.startsWith('step-')),
  }
}

describe('Ctrl-C in a run', () => {
  it('ends its training after the step, which is saved; the next goes on to the same adapter', {
    timeout: 120_000,
  }, async () => {
    await using home = await testHome()
    await using stack = new AsyncDisposableStack()
    const { client, server } = await startTraffic(home, stack)
    await playSessions(client(), 28)
    const settings = [
      ...tinySettings(writeTinyModel(home.path)),
      'train.max_steps=150',
      'train.save_steps=null',
    ]
    await home.shadow(['tasks', 'set', taskName, ...settings])
    await server.stop()
    await using undisturbed = await copyHome(home.path)
    const expected = await runToEnd(undisturbed, taskName)

    const stopped = home.start(['run', '--task', taskName])
    await vi.waitFor(() => expect(trained(home).lines).toBeGreaterThan(3), { timeout: 60_000, interval: 20 })
    expect(trained(home).checkpoints).toEqual([])
    stopped.kill('SIGINT')
    const { code, stderr } = await stopped.finished
    const { lines, checkpoints } = trained(home)
    expect({ code, stderr, checkpoints }).toEqual({
      code: 1,
      stderr: `Stopped after step ${lines}, which is saved.\nThe same command goes on from there.\n`,
      checkpoints: [`step-${lines}`],
    })
    expect(await runToEnd(home, taskName)).toEqual(expected)
  })
})

describe('a training process', () => {
  let home: TestHome
  let job: TrainJob
  beforeAll(async () => {
    home = await testHome()
    const datasetPath = join(home.path, 'rows.jsonl')
    writeFileSync(datasetPath, toJsonLines(conversations(8)))
    job = {
      baseModel: 'tiny',
      modelPath: writeTinyModel(home.path),
      datasetPath,
      config: trainConfig.parse({ max_steps: 2_000, save_steps: 5 }),
      workFolder: join(home.path, 'work'),
      outputFolder: join(home.path, 'output'),
    }
  })
  afterAll(() => home[Symbol.asyncDispose]())

  it('that the system ends says what to lower, and what is kept', { timeout: 60_000 }, async () => {
    const running = runTraining(job, (event) => {
      if (event.type === 'step' && event.metric.step === 7)
        void childrenOf(process.pid).then(([child]) => child !== undefined && process.kill(child, 'SIGKILL'))
    })
    await expect(running).rejects.toMatchObject({
      code: 'engine_failed',
      message: 'The training process ended: signal SIGKILL.',
      hint: expect.stringMatching(
        /out of memory: set train\.gradient_checkpointing or lower train\.max_tokens_per_pass\. .*from the last checkpoint/,
      ),
    })
    expect(readdirSync(job.workFolder)).toContainEqual(expect.stringMatching(/^step-\d+$/))
  })
})
