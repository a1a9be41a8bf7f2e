/** Trainings that keep a record of themselves, and the folder that holds them. */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { isAbsolute, join, resolve, sep } from 'node:path'
import { messageOf, ShadowError } from '../src/lib/error.ts'
import { writeFileAtomically } from '../src/lib/files.ts'
import { saveTrained } from './adapters.ts'
import { train, type TrainHooks, type TrainInput, type TrainOutcome } from './train.ts'
import { TrainingRun, type TrainingRunRecord } from './training-run.ts'

export interface RunInput extends Omit<TrainInput, 'workFolder'> {
  /** The base as an adapter's config names it, and its files. */
  base: { name: string; path: string }
  /** New, or that of a training to go on with. */
  folder: string
}

/** Where a training goes that is given no folder: `<home>/runs/<base>-<Unix seconds>`, counted on where that exists. */
export function newRunFolder(home: string, baseName: string, now = Date.now()): string {
  const stem = join(home, 'runs', `${baseName.replaceAll(/[/\\]/g, '_')}-${Math.floor(now / 1000)}`)
  for (let number = 1; ; number++) {
    const folder = number === 1 ? stem : `${stem}-${number}`
    if (!existsSync(folder)) return folder
  }
}

/**
 * Trains in a folder, whose run.json says at any time how far it is, and in the end what became of it.
 * @returns the run, and what was trained, which the caller owns
 * @throws ShadowError as `train`; run.json then says `failed`
 */
export async function trainInFolder(
  { base, folder, ...input }: RunInput,
  hooks: TrainHooks = {},
): Promise<{ run: TrainingRun; outcome: TrainOutcome }> {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
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
    await writeFileAtomically(join(folder, 'run.json'), `${JSON.stringify(record, null, 2)}\n`)
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
    await written
    const code = thrown instanceof ShadowError ? thrown.code : 'internal'
    await note({ state: 'failed', error: `${code}: ${messageOf(thrown)}`, finishedAt: Date.now() })
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
