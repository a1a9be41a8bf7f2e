/** Training children that are killed, and what is left of them. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { trainConfig } from '../../src/contract/train-config.ts'
import { hashFolder } from '../../src/lib/files.ts'
import { packageRoot } from '../../src/setup/paths.mjs'
import { type TrainEvent, trainEvent, type TrainJob } from '../../trainers/protocol.ts'

const child = join(packageRoot(), 'trainers', 'train-child.ts')

export interface TrainingEnd {
  signal: NodeJS.Signals | null
  /** The last event: done, stopped or failed where the child came to an end of its own. */
  last: TrainEvent | null
}

export interface ChildOptions {
  /** kill −9 this long after the first report of this step or a later one; null lets it end. */
  kill?: { step: number; afterMs: number } | null
  /** No file may grow beyond this; writing then fails as on a full disk. */
  fileLimitKb?: number
}

/** Runs a training in a child of its own, from its start or from what is left in the work folder. */
export async function runChild(job: TrainJob, options: ChildOptions = {}): Promise<TrainingEnd> {
  const { kill = null, fileLimitKb } = options
  const limit = fileLimitKb === undefined ? '' : `trap '' XFSZ; ulimit -f ${fileLimitKb}; `
  const started = spawn('bash', ['-c', `${limit}exec "$0" "$@"`, process.execPath, child], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  let last: TrainEvent | null = null
  let timer: NodeJS.Timeout | undefined
  started.on('message', (raw) => {
    last = trainEvent.parse(raw)
    if (last.type === 'step' && kill !== null && last.metric.step >= kill.step)
      timer ??= setTimeout(() => started.kill('SIGKILL'), kill.afterMs)
    if (last.type === 'done' || last.type === 'stopped' || last.type === 'failed') started.disconnect()
  })
  started.send({ type: 'start', job })
  return await new Promise((resolve, reject) => {
    started.once('error', reject)
    started.once('exit', (_code, signal) => {
      clearTimeout(timer)
      resolve({ signal, last })
    })
  })
}

/** A job that saves at every step, in folders of its own. */
export function jobIn(
  place: { modelPath: string; datasetPath: string; folder: string },
  settings: Record<string, unknown>,
): TrainJob {
  const { modelPath, datasetPath, folder } = place
  return {
    baseModel: 'base',
    modelPath,
    datasetPath,
    config: trainConfig.parse({ save_steps: 1, ...settings }),
    workFolder: join(folder, 'work'),
    outputFolder: join(folder, 'output'),
  }
}

/** SHA-256 of the adapter that a job has written. */
export async function adapterHash(job: TrainJob): Promise<string> {
  return await hashFolder(join(job.outputFolder, 'adapter'))
}

/** Kills the job once and runs it to its end. */
export async function killedOnce(
  job: TrainJob,
  kill: { step: number; afterMs: number },
): Promise<{ killed: boolean; resumedFrom: number; hash: string }> {
  const { signal } = await runChild(job, { kill })
  const { last } = await runChild(job)
  if (last?.type !== 'done') throw new Error(`The training did not go on: ${JSON.stringify(last)}`)
  return { killed: signal === 'SIGKILL', resumedFrom: last.resumedFrom, hash: await adapterHash(job) }
}
