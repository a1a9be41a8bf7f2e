/** A training from files to files. */
import { join } from 'node:path'
import { trainingRow } from '../src/contract/dataset.ts'
import { loadModel, Runtime } from '../src/engine/index.ts'
import { hashFileOrFolder, readJsonLines, toJsonLines, writeFileAtomically } from '../src/lib/files.ts'
import { saveAdapter } from './adapters.ts'
import type { TrainJob } from './protocol.ts'
import { train, type TrainHooks } from './train.ts'

export interface JobOutcome {
  steps: number
  resumedFrom: number
  stopped: boolean
}

/**
 * Trains and writes `adapter/` and `metrics.ndjson` into `job.outputFolder`; nothing there when it was stopped.
 * @throws ShadowError as `train`, and invalid_file for model and dataset
 */
export async function runJob(job: TrainJob, hooks: TrainHooks): Promise<JobOutcome> {
  const runtime = new Runtime()
  const { model, ...text } = loadModel(runtime, job.modelPath)
  const rows = await readJsonLines(job.datasetPath, (value) => trainingRow.parse(value))
  const baseHash = await hashFileOrFolder(job.modelPath)
  const { config, workFolder, outputFolder } = job
  const outcome = await train({ model, text, baseHash, rows, config, workFolder }, hooks)
  const { steps, resumedFrom } = outcome
  if (outcome.state === 'stopped') return { steps, resumedFrom, stopped: true }
  await saveAdapter(join(outputFolder, 'adapter'), outcome.adapter, job.baseModel)
  await writeFileAtomically(join(outputFolder, 'metrics.ndjson'), toJsonLines(outcome.metrics))
  return { steps, resumedFrom, stopped: false }
}
