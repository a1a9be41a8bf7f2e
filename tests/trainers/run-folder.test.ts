import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { trainConfig } from '../../src/contract/train-config.ts'
import { encodeSafetensors } from '../../src/engine/index.ts'
import { renderCheckpoints } from '../../src/cli/render-checkpoints.ts'
import { inspectCheckpoints, listTrainings, trainRows } from '../../src/ops/trainings.ts'
import { newRunFolder, RunRegistry, trainInFolder } from '../../trainers/run-folder.ts'
import type { TrainHooks } from '../../trainers/train.ts'
import { TrainingRun } from '../../trainers/training-run.ts'
import { conversations, type TinyTraining, tinyTraining } from './tiny-training.ts'

describe('a training in a folder of its own', () => {
  let tiny: TinyTraining
  beforeAll(() => {
    tiny = tinyTraining()
  })
  afterAll(() => tiny[Symbol.dispose]())

  function train(
    folder: string,
    settings: Record<string, unknown> = {},
    hooks: TrainHooks = {},
    rows = conversations(6),
  ) {
    const config = trainConfig.parse({
      max_steps: 6,
      per_device_train_batch_size: 2,
      learning_rate: 0.01,
      save_steps: 2,
      save_total_limit: null,
      ...settings,
    })
    const base = { name: 'some/base', path: tiny.modelPath }
    return trainInFolder(
      { model: tiny.model, text: tiny.text, baseHash: 'base', rows, config, base, folder },
      hooks,
    )
  }

  it('says how far it is and how it went', async () => {
    const home = join(tiny.folder, 'home')
    const folder = newRunFolder(home, 'some/base', 1_700_000_000_999)
    expect(folder).toBe(join(home, 'runs', 'some_base-1700000000'))
    let during = ''
    const { run, outcome } = await train(
      folder,
      { eval_dataset: 'auto' },
      { onStep: () => (during = readFileSync(join(folder, 'run.json'), 'utf8')) },
    )
    outcome.adapter.dispose()
    expect(JSON.parse(during)).toMatchObject({
      state: 'running',
      base: 'some/base',
      method: 'sft',
    })
    expect(run.record).toMatchObject({
      state: 'succeeded',
      step: 6,
      totalSteps: 6,
      resumed: false,
      error: null,
    })
    expect({ id: run.id, progress: run.progress, eta: run.etaS }).toEqual({
      id: 'some_base-1700000000',
      progress: 1,
      eta: 0,
    })
    expect(run.losses()).toHaveLength(6)
    expect([run.loss, run.smoothed(0).at(-1)]).toEqual([run.losses()[5], run.losses()[5]])
    expect(run.smoothed()).toHaveLength(6)
    expect(run.evalLoss).toBe(run.series('eval_loss').at(-1)?.[1])
    expect(run.sparkline()).toMatch(/^[▁▂▃▄▅▆▇█]{6}$/)
    expect(run.plot('lr', { width: 20, height: 4 })).toContain('step 1–6 · last ')
    for (const value of [run.tokens, run.peakMemGb, run.stepsPerS, run.durationS])
      expect(value).toBeGreaterThan(0)
    expect(run.checkpoints().map(({ step, kind }) => [step, kind])).toEqual([
      [2, 'shadow'],
      [4, 'shadow'],
      [6, 'shadow'],
      [null, 'peft'],
    ])
    expect(run.checkpointAt().kind).toBe('peft')
    expect(run.checkpointAt(4).name).toBe('step-4')
    expect(() => run.checkpointAt(5)).toThrow('does not hold a checkpoint of step 5')
    expect(TrainingRun.fromJSON(JSON.parse(JSON.stringify(run)))).toEqual(run)
    expect(newRunFolder(home, 'some/base', 1_700_000_000_000)).toBe(`${folder}-2`)
  })

  it('has its folder to itself: a second training there is refused, two that begin at once get two', async () => {
    const home = join(tiny.folder, 'shared')
    const [one, two] = [newRunFolder(home, 'base', 1e12), newRunFolder(home, 'base', 1e12)]
    expect([one, two]).toEqual(['', '-2'].map((end) => join(home, 'runs', `base-1000000000${end}`)))
    const first = train(one)
    await expect(train(one)).rejects.toMatchObject({
      code: 'busy',
      message: `${one} is being trained in already.`,
    })
    const [alone, beside] = [await first, await train(two)]
    expect(alone.run.record.state).toBe('succeeded')
    const hashes = [alone, beside].map(({ outcome }) => {
      const bytes = encodeSafetensors(outcome.adapter.tensors())
      outcome.adapter.dispose()
      return createHash('sha256').update(bytes).digest('hex')
    })
    expect(new Set(hashes).size).toBe(1)
  })

  it('is stopped and gone on with; a failure is on record', async () => {
    const home = join(tiny.folder, 'other')
    const folder = newRunFolder(home, 'base')
    let asked = 0
    const stopped = await train(folder, {}, { shouldStop: () => ++asked === 3 })
    expect(stopped.run.record).toMatchObject({ state: 'stopped', step: 3, totalSteps: 6 })
    expect(stopped.run.progress).toBe(0.5)
    const rest = await train(folder)
    expect(rest.run.record).toMatchObject({ state: 'succeeded', step: 6, resumed: true })
    const failed = newRunFolder(home, 'failing')
    await expect(train(failed, {}, {}, [])).rejects.toThrow('No row')
    expect(TrainingRun.read(failed).record).toMatchObject({
      state: 'failed',
      error: 'invalid_config: No row of the dataset can be trained on.',
    })
    for (const { outcome } of [stopped, rest]) outcome.adapter.dispose()

    const registry = new RunRegistry(home)
    mkdirSync(join(home, 'runs', 'corrupt'))
    writeFileSync(join(home, 'runs', 'corrupt', 'run.json'), '{')
    expect(registry.list().map(({ id }) => id)).toEqual([TrainingRun.read(failed).id, rest.run.id])
    expect(registry.latest()?.record.state).toBe('failed')
    expect(registry.load(rest.run.id)).toEqual(rest.run)
    expect(registry.load(folder)).toEqual(rest.run)
    expect(() => registry.load('nothing')).toThrow('holds no training')
    expect(() => registry.delete('../runs')).toThrow('is no training')
    registry.delete(rest.run.id)
    expect(existsSync(folder)).toBe(false)
    expect(new RunRegistry(join(home, 'empty')).latest()).toBeNull()
  })

  it('is one call from the library, and its checkpoints are listed with what comes next', async () => {
    const home = join(tiny.folder, 'library')
    const config = { max_steps: 4, per_device_train_batch_size: 2, save_steps: 2, save_total_limit: null }
    const request = { base: tiny.modelPath, rows: conversations(4), config }
    const seen: number[] = []
    const run = await trainRows({ home }, request, { onStep: ({ step }) => seen.push(step) })
    expect(seen).toEqual([1, 2, 3, 4])
    expect(listTrainings({ home }).map(({ id }) => id)).toEqual([run.id])
    await expect(trainRows({ home }, { ...request, config: { lora_rank: 8 } })).rejects.toThrow('lora_rank')
    await expect(trainRows({ home }, { ...request, folder: tiny.modelPath })).rejects.toMatchObject({
      code: 'store_failed',
      message: expect.stringMatching(/cannot be made a folder/),
    })
    const nowhere = { ...config, resume_from_checkpoint: tiny.modelPath }
    await expect(trainRows({ home }, { ...request, config: nowhere })).rejects.toMatchObject({
      code: 'not_found',
    })
    const [row] = conversations(1)
    const wrong: [unknown, RegExp][] = [
      ['rows', /^Rows: /],
      [[row, null], /^Row 2: /],
      [[{ messages: row?.messages }], /^Row 1: /],
      [[{ ...row, loss: [1] }], /^Row 1 has not one loss weight a message\.$/],
    ]
    for (const [rows, says] of wrong) {
      const run: Promise<TrainingRun> = Reflect.apply(trainRows, null, [{ home }, { ...request, rows }])
      await expect(run).rejects.toMatchObject({
        code: 'invalid_request',
        message: expect.stringMatching(says),
      })
    }

    const own = renderCheckpoints(inspectCheckpoints(run.folder, null))
    expect(own.replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, 'TIME')).toMatchInlineSnapshot(`
      "checkpoint                 step   progress          by      size    saved
      step-2                     2      █████░░░░░ 50 %   shadow  0.3 MB  TIME
      step-4                     4      ██████████ 100 %  shadow  0.3 MB  TIME
      adapter_model.safetensors  final  ██████████ 100 %  peft    0.1 MB  TIME
      "
    `)
    const others = join(tiny.folder, 'others')
    mkdirSync(others)
    for (const step of [1, 2, 3, 4, 5, 6])
      writeFileSync(join(others, `0000${step}00_adapters.safetensors`), 'x')
    writeFileSync(join(others, 'adapters.safetensors'), 'x')
    const half = renderCheckpoints(inspectCheckpoints(others, 1000))
    expect(half.replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, 'TIME')).toMatchInlineSnapshot(`
      "checkpoint                    step   progress          by      size    saved
      0000300_adapters.safetensors  300    ███░░░░░░░ 30 %   mlx-lm  0.0 MB  TIME
      0000400_adapters.safetensors  400    ████░░░░░░ 40 %   mlx-lm  0.0 MB  TIME
      0000500_adapters.safetensors  500    █████░░░░░ 50 %   mlx-lm  0.0 MB  TIME
      0000600_adapters.safetensors  600    ██████░░░░ 60 %   mlx-lm  0.0 MB  TIME
      adapters.safetensors          final  ██████████ 100 %  mlx-lm  0.0 MB  TIME
      2 older ones are not shown.
      A training goes on from 0000600_adapters.safetensors: 600 of 1000 steps, 400 are left.
      "
    `)
    expect(renderCheckpoints(inspectCheckpoints(others, 600))).toContain(
      'Already complete: adapters.safetensors.',
    )
    expect(renderCheckpoints(inspectCheckpoints(home, 600))).toContain('starts anew')
    for (const path of [join(home, 'none'), tiny.modelPath])
      expect(() => inspectCheckpoints(path, null)).toThrow('There is no folder')
  })
})
