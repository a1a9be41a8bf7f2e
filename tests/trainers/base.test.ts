import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadModel, Runtime } from '../../src/engine/index.ts'
import { hashFolder, toJsonLines } from '../../src/lib/files.ts'
import type { TrainJob } from '../../trainers/protocol.ts'
import { runJob } from '../../trainers/run-job.ts'
import { jobIn } from '../support/kill-training.ts'
import { writeTinyModel } from '../support/tiny-model.ts'
import { conversations } from './tiny-training.ts'

describe('the base of a training', () => {
  let root: string
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'shadow-base-'))
    // Wide enough for groups of 64.
    writeTinyModel(root, 7, 64)
    writeFileSync(join(root, 'rows.jsonl'), toJsonLines(conversations(6)))
  })
  afterAll(() => rmSync(root, { recursive: true, force: true }))

  function job(name: string, settings: Record<string, unknown>): TrainJob {
    const folder = join(root, name)
    mkdirSync(folder)
    const place = { modelPath: join(root, 'tiny-llama.gguf'), datasetPath: join(root, 'rows.jsonl'), folder }
    return jobIn(place, { max_steps: 4, per_device_train_batch_size: 2, warmup_steps: 0, ...settings })
  }

  async function adapterOf(name: string, settings: Record<string, unknown>) {
    const notes: string[] = []
    const one = job(name, settings)
    await runJob(one, { onNote: (text) => notes.push(text) })
    return { hash: await hashFolder(join(one.outputFolder, 'adapter')), notes }
  }

  it('is loaded as the settings say', async () => {
    const loaded = [
      await adapterOf('float32', {}),
      await adapterOf('four', { load_in_4bit: true }),
      await adapterOf('eight', { load_in_8bit: true }),
      await adapterOf('bfloat16', { bf16: true }),
    ]
    expect(new Set(loaded.map(({ hash }) => hash)).size).toBe(4)
    expect(loaded.flatMap(({ notes }) => notes).filter((note) => note.includes('no effect'))).toEqual([])
    await expect(adapterOf('both', { load_in_4bit: true, load_in_8bit: true })).rejects.toThrow(
      'exclude each other',
    )
  })

  it('is trained itself where the adapter is full: the result is a model; stopped, it goes on to the same bytes', async () => {
    const whole = job('whole', { adapter: 'full', learning_rate: 1e-3 })
    const losses: number[] = []
    await runJob(whole, { onStep: ({ loss }) => losses.push(loss) })
    expect(losses.at(-1)).toBeLessThan(losses[0] ?? 0)
    const { model } = loadModel(new Runtime(), join(whole.outputFolder, 'model'))
    model.dispose()
    const parts = job('parts', { adapter: 'full', learning_rate: 1e-3 })
    let asked = 0
    expect(await runJob(parts, { shouldStop: () => ++asked === 2 })).toMatchObject({
      steps: 2,
      stopped: true,
    })
    expect(await runJob(parts, {})).toMatchObject({ steps: 4, resumedFrom: 2 })
    expect(await hashFolder(join(parts.outputFolder, 'model'))).toBe(
      await hashFolder(join(whole.outputFolder, 'model')),
    )
    await expect(runJob(job('packed', { adapter: 'full', load_in_4bit: true }), {})).rejects.toThrow(
      'is quantised',
    )
  })
})
