/** Trainings of a second or less on the tiny model, each in a folder of its own. */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DatasetRow, TrainingRow } from '../../src/contract/dataset.ts'
import type { MetricRecord } from '../../src/contract/run.ts'
import { trainConfig } from '../../src/contract/train-config.ts'
import {
  type CausalLM,
  encodeSafetensors,
  loadModel,
  type ModelText,
  Runtime,
} from '../../src/engine/index.ts'
import { train, type TrainHooks, type TrainInput, type TrainOutcome } from '../../trainers/train.ts'
import { writeTinyModel } from '../support/tiny-model.ts'

export interface TinyTraining extends Disposable {
  /** For whatever a test leaves; removed in the end. */
  readonly folder: string
  readonly modelPath: string
  readonly model: CausalLM
  readonly text: ModelText
  run(settings: Record<string, unknown>, more?: Partial<TrainInput>, hooks?: TrainHooks): Promise<Result>
  /** The same with the adapter itself, for the caller to dispose of; stopped after so many steps. */
  raw(settings: Record<string, unknown>, more?: Partial<TrainInput>, stopAfter?: number): Promise<RawResult>
}

export interface Result extends RawResult {
  /** SHA-256 of the adapter as a file. */
  hash: string
}

export interface RawResult extends TrainOutcome {
  notes: string[]
  workFolder: string
}

export function tinyTraining(): TinyTraining {
  const folder = mkdtempSync(join(tmpdir(), 'shadow-train-'))
  const modelPath = writeTinyModel(folder)
  const { model, ...text } = loadModel(new Runtime(), modelPath)
  const run = async (
    settings: Record<string, unknown>,
    more: Partial<TrainInput>,
    hooks: TrainHooks,
  ): Promise<RawResult> => {
    const notes: string[] = []
    const workFolder = more.workFolder ?? mkdtempSync(join(folder, 'work-'))
    const config = trainConfig.parse({
      max_steps: 4,
      per_device_train_batch_size: 2,
      learning_rate: 0.01,
      ...settings,
    })
    const rows = conversations(6)
    // Full fine-tuning changes its base in place, and the others share one.
    const base = config.adapter === 'full' ? loadModel(new Runtime(), modelPath).model : model
    const outcome = await train(
      { model: base, text, baseHash: 'base', rows, config, workFolder, ...more },
      { ...hooks, onNote: (text) => notes.push(text) },
    )
    return { ...outcome, notes, workFolder }
  }
  return {
    folder,
    modelPath,
    model,
    text,
    async run(settings, more = {}, hooks = {}) {
      const outcome = await run(settings, more, hooks)
      const hash = createHash('sha256').update(encodeSafetensors(outcome.adapter.tensors())).digest('hex')
      outcome.adapter.dispose()
      return { ...outcome, hash }
    },
    raw: (settings, more = {}, stopAfter = Number.POSITIVE_INFINITY) => {
      let asked = 0
      return run(settings, more, { shouldStop: () => ++asked >= stopAfter })
    },
    [Symbol.dispose]() {
      model.dispose()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Two turns each; the second is the one to learn, the first has half the weight. */
export function conversations(count: number): DatasetRow[] {
  return Array.from({ length: count }, (_, index) => ({
    leaf: index.toString(16).padStart(8, '0'),
    messages: [
      { role: 'system', content: 'Answer in one word.' },
      { role: 'user', content: `request ${index}` },
      { role: 'assistant', content: `ok ${index}` },
      { role: 'user', content: 'again' },
      { role: 'assistant', content: 'yes' },
    ],
    tools: [],
    loss: [0, 0, 0.5, 0, 1],
  }))
}

export function texts(count: number): TrainingRow[] {
  return Array.from({ length: count }, (_, index) => ({
    text: `Document ${index} says ${'so '.repeat(index + 1)}.`,
  }))
}

/** Metrics without what the clock and the machine had a say in. */
export function timeless(metrics: readonly MetricRecord[]): Record<string, unknown>[] {
  return metrics.map((metric) =>
    Object.fromEntries(
      Object.entries(metric).filter(([name]) => !['elapsed_s', 'tokens_per_s', 'peak_mem_gb'].includes(name)),
    ),
  )
}
