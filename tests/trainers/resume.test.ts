import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { toJsonLines } from '../../src/lib/files.ts'
import { runTraining } from '../../src/ops/training-process.ts'
import { readMetricRecords } from '../../trainers/metric-log.ts'
import { adapterHash, jobIn, killedOnce, runChild } from '../support/kill-training.ts'
import { conversations, timeless, type TinyTraining, tinyTraining } from './tiny-training.ts'

const settings = {
  max_steps: 18,
  per_device_train_batch_size: 2,
  learning_rate: 0.01,
  eval_dataset: '20%',
  eval_steps: 7,
  logging_steps: 3,
}

describe('a training that is killed, stopped or short of disk', () => {
  let tiny: TinyTraining
  beforeAll(() => {
    tiny = tinyTraining()
    writeFileSync(join(tiny.folder, 'rows.jsonl'), toJsonLines(conversations(10)))
  })
  afterAll(() => tiny[Symbol.dispose]())

  function job(name: string, more: Record<string, unknown> = {}) {
    const folder = join(tiny.folder, name)
    mkdirSync(folder)
    const place = { modelPath: tiny.modelPath, datasetPath: join(tiny.folder, 'rows.jsonl'), folder }
    return jobIn(place, { ...settings, ...more })
  }

  it('ends with the same bytes, and the same metrics', { timeout: 60_000 }, async () => {
    const undisturbed = job('undisturbed')
    const { last } = await runChild(undisturbed)
    expect(last).toEqual({ type: 'done', steps: 18, resumedFrom: 0 })
    const hash = await adapterHash(undisturbed)
    const metricsOf = (of: typeof undisturbed) =>
      timeless(readMetricRecords(join(of.outputFolder, 'metrics.ndjson')))

    for (const [trial, step] of [2, 7, 13].entries()) {
      const killed = job(`killed-${trial}`)
      const end = await killedOnce(killed, { step, afterMs: 10 * trial })
      expect(end).toEqual({ killed: true, resumedFrom: expect.any(Number), hash })
      expect(end.resumedFrom).toBeGreaterThanOrEqual(step - 1)
      expect(metricsOf(killed)).toEqual(metricsOf(undisturbed))
    }

    const stopped = job('stopped')
    const stop = new AbortController()
    const first = runTraining(
      stopped,
      (event) => {
        if (event.type === 'step' && event.metric.step > 5) stop.abort()
      },
      stop.signal,
    )
    await expect(first).rejects.toThrow(/^Stopped after step \d+, which is saved\.$/)
    expect((await runTraining(stopped, () => {})).resumedFrom).toBeGreaterThan(5)
    expect(await adapterHash(stopped)).toBe(hash)
  })

  it('keeps the old checkpoint whole when there is no room for the next', { timeout: 60_000 }, async () => {
    const plain = { eval_dataset: null, eval_steps: null, max_steps: 6 }
    const undisturbed = job('roomy', plain)
    await runChild(undisturbed)

    const cramped = job('cramped', { ...plain, save_steps: 2 })
    const stop = new AbortController()
    const started = runTraining(cramped, () => stop.abort(), stop.signal)
    await expect(started).rejects.toThrow('is saved')
    const before = readdirSync(cramped.workFolder).toSorted()
    const { last } = await runChild(cramped, { fileLimitKb: 50 })
    expect(last).toMatchObject({
      type: 'failed',
      code: 'store_failed',
      message: expect.stringMatching(/^Step \d+ could not be saved: EFBIG/),
    })
    expect(last).toMatchObject({ hint: expect.stringMatching(/the checkpoint of step \d+ is whole/) })
    expect(readdirSync(cramped.workFolder).toSorted()).toEqual(before)

    // Metrics are written at each step, before any checkpoint.
    const measured = job('measured', { ...plain, max_steps: 12, save_steps: null, logging_steps: 1 })
    expect((await runChild(measured, { fileLimitKb: 1 })).last).toMatchObject({
      type: 'failed',
      code: 'store_failed',
      message: expect.stringMatching(/^.*metrics\.ndjson cannot be written: EFBIG/),
    })

    expect((await runChild(cramped)).last).toMatchObject({ type: 'done', steps: 6 })
    expect(await adapterHash(cramped)).toBe(await adapterHash(undisturbed))
    expect(readFileSync(join(cramped.workFolder, 'step-6', 'state.json'), 'utf8')).toContain(
      '"finished": true',
    )
  })
})
