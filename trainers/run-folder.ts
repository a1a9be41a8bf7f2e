/** Trainings that keep a record of themselves, and the folder that holds them. */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { dirname, isAbsolute, join, resolve, sep } from 'node:path'
import { messageOf, ShadowError } from '../src/lib/error.ts'
import { writeFileAtomically } from '../src/lib/files.ts'
import { takeLock } from '../src/store/process-lock.ts'
import { saveTrained } from './adapters.ts'
import { train, type TrainHooks, type TrainInput, type TrainOutcome } from './train.ts'
import { TrainingRun, type TrainingRunRecord } from './training-run.ts'

export interface RunInput extends Omit<TrainInput, 'workFolder'> {
  /** The base as an adapter's config names it, and its files. */
  base: { name: string; path: string }
  /** New, or that of a training to go on with. */
  folder: string
}

/**
 * Makes the folder of a training that is given none: `<home>/runs/<base>-<Unix seconds>`, counted on where that exists, so
 * that two that begin in one second get two.
 */
export function newRunFolder(home: string, baseName: string, now = Date.now()): string {
  const stem = join(home, 'runs', `${baseName.replaceAll(/[/\\]/g, '_')}-${Math.floor(now / 1000)}`)
  mkdirSync(dirname(stem), { recursive: true, mode: 0o700 })
  for (let number = 1; ; number++) {
    const folder = number === 1 ? stem : `${stem}-${number}`
    try {
      mkdirSync(folder, { mode: 0o700 })
      return folder
    } catch (thrown) {
      if (!existsSync(folder)) throw thrown
    }
  }
}

/**
 * Trains in a folder, whose run.json says at any time how far it is, and in the end what became of it.
 * @returns the run, and what was trained, which the caller owns
 * @throws ShadowError as `train`, run.json then says `failed`; `busy` where another process trains in the folder
 */
export async function trainInFolder(
  { base, folder, ...input }: RunInput,
  hooks: TrainHooks = {},
): Promise<{ run: TrainingRun; outcome: TrainOutcome }> {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new ShadowError('store_failed', `${folder} cannot be made a folder: ${messageOf(cause)}.`, {
      hint: 'Name another one.',
      cause,
    })
  }
  using lock = takeLock(join(folder, 'run.lock'))
  if (lock === null)
    throw new ShadowError('busy', `${folder} is being trained in already.`, {
      hint: 'Wait for that training, or name another folder.',
    })
  let record: TrainingRunRecord = {
    base: base.name,
    method: input.config.method,
    state: 'pending',
    resumed: false,
    step: 0,
    totalSteps: 0,
    startedAt: Date.now(),
    finishedAt: null,
    error: null,
    config: input.config,
  }
  const note = async (change: Partial<TrainingRunRecord>): Promise<void> => {
    record = { ...record, ...change }
    const path = join(folder, 'run.json')
    await writeFileAtomically(path, `${JSON.stringify(record, null, 2)}\n`).catch((cause: unknown) => {
      throw new ShadowError('store_failed', `${path} cannot be written: ${messageOf(cause)}.`, {
        hint: 'Check the free space of its disk and who may write there.',
        cause,
      })
    })
  }
  await note({})
  await note({ state: 'running' })
  let written = Promise.resolve()
  try {
    const outcome = await train(
      { ...input, workFolder: folder },
      {
        ...hooks,
        onStep(metric, totalSteps) {
          const first = record.totalSteps === 0
          record = { ...record, step: metric.step, totalSteps }
          if (first) written = note({})
          hooks.onStep?.(metric, totalSteps)
        },
      },
    )
    await written
    const { steps: step, totalSteps, resumedFrom } = outcome
    if (outcome.state === 'finished') await saveTrained(folder, outcome.adapter, base)
    const state = outcome.state === 'finished' ? 'succeeded' : 'stopped'
    await note({ state, step, totalSteps, resumed: resumedFrom > 0, finishedAt: Date.now() })
    return { run: TrainingRun.read(folder), outcome }
  } catch (thrown) {
    const code = thrown instanceof ShadowError ? thrown.code : 'internal'
    const failed = {
      state: 'failed',
      error: `${code}: ${messageOf(thrown)}`,
      finishedAt: Date.now(),
    } as const
    // On a full disk it can't be told, and the first error is the one to tell.
    await written.catch(() => undefined)
    await note(failed).catch(() => undefined)
    throw thrown
  }
}

/** The trainings in `<home>/runs`. */
export class RunRegistry {
  readonly #folder: string

  constructor(home: string) {
    this.#folder = join(home, 'runs')
  }

  /** Newest first; a folder whose run.json can't be read is left out. */
  list(): TrainingRun[] {
    if (!existsSync(this.#folder)) return []
    return readdirSync(this.#folder)
      .flatMap((name) => {
        try {
          return [TrainingRun.read(join(this.#folder, name))]
        } catch {
          return []
        }
      })
      .toSorted((a, b) => b.record.startedAt - a.record.startedAt)
  }

  latest(): TrainingRun | null {
    return this.list()[0] ?? null
  }

  /** @param run its id, or the path of its folder. @throws ShadowError not_found | invalid_file */
  load(run: string): TrainingRun {
    return TrainingRun.read(
      isAbsolute(run) || existsSync(join(run, 'run.json')) ? run : join(this.#folder, run),
    )
  }

  /** Removes a training with its checkpoints and its adapter. @throws ShadowError not_found | invalid_request */
  delete(id: string): void {
    const folder = resolve(this.#folder, id)
    if (!folder.startsWith(this.#folder + sep) || id.includes(sep))
      throw new ShadowError('invalid_request', `${id} is no training's name.`)
    TrainingRun.read(folder)
    rmSync(folder, { recursive: true, force: true })
  }
}
