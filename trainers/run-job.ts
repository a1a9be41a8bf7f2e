/** A training from files to files. */
import { join } from 'node:path'
import { trainingRow } from '../src/contract/dataset.ts'
import { loadModel, Runtime } from '../src/engine/index.ts'
import { hashFileOrFolder, readJsonLines, toJsonLines, writeFileAtomically } from '../src/lib/files.ts'
import { loadOptions, saveTrained } from './adapters.ts'
import type { TrainJob } from './protocol.ts'
import { train, type TrainHooks } from './train.ts'

export interface JobOutcome {
  steps: number
  resumedFrom: number
  stopped: boolean
}

/**
 * Trains and writes `adapter/` (`model/` where all of the base was trained) and `metrics.ndjson` into
 * `job.outputFolder`; nothing when it was stopped.
 * @throws ShadowError as `train`, and invalid_file for model and dataset
 */
export async function runJob(job: TrainJob, hooks: TrainHooks): Promise<JobOutcome> {
  const runtime = new Runtime()
  const { model, ...text } = loadModel(runtime, job.modelPath, loadOptions(job.config))
  const quantizes = job.config.load_in_4bit || job.config.load_in_8bit
  if (quantizes && model.baseTensors().every(({ packing }) => packing === null))
    hooks.onNote?.('nothing of the base is quantised: no matrix has rows of whole groups of 64')
  const rows = await readJsonLines(job.datasetPath, (value) => trainingRow.parse(value))
  const baseHash = await hashFileOrFolder(job.modelPath)
  const { config, workFolder, outputFolder } = job
  const outcome = await train(
    { model, text, baseHash, rows, config, workFolder, loadedByConfig: true },
    hooks,
  )
  const { steps, resumedFrom } = outcome
  if (outcome.state === 'stopped') return { steps, resumedFrom, stopped: true }
  await saveTrained(outputFolder, outcome.adapter, { name: job.baseModel, path: job.modelPath })
  await writeFileAtomically(join(outputFolder, 'metrics.ndjson'), toJsonLines(outcome.metrics))
  return { steps, resumedFrom, stopped: false }
}
