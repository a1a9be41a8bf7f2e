/**
 * Checkpoints: `step-<n>` folders with adapter, optimizer state and the fingerprint of what they belong to.
 * A folder appears whole, by a rename; one that could not be written leaves the others as they were.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import {
  type AdamWState,
  type Adapter,
  encodeSafetensors,
  openSafetensors,
  type TensorData,
} from '../src/engine/index.ts'
import { messageOf, ShadowError } from '../src/lib/error.ts'
import { bestState } from './best-model.ts'
import { differences, type Fingerprint, fingerprint } from './fingerprint.ts'
import { windowState } from './metric-window.ts'

/**
 * state.json. Order of rows and dropout keys are functions of seed and step; the position stands here for who reads
 * the file.
 */
const progressState = z.object({
  /** Optimizer steps done. */
  step: z.number().int().nonnegative(),
  /** Of the schedule. */
  total_steps: z.number().int().positive(),
  /** Nothing is left to do: the goal is reached, or the training stopped early. */
  finished: z.boolean(),
  seed: z.number().int(),
  /** The epoch, and the row in its order, that the next step begins with. */
  position: z.object({ epoch: z.number().int(), row: z.number().int() }),
  metrics: windowState,
  /** Lines of metrics.ndjson. */
  records: z.number().int(),
  evaluation: bestState,
})
export type ProgressState = z.infer<typeof progressState>

const stateFile = progressState.extend({ fingerprint })

export interface Checkpoint {
  /** Where it was read. */
  folder: string
  state: ProgressState
  parameters: ReadonlyMap<string, TensorData>
  optimizer: AdamWState
}

export interface TrainingState {
  state: ProgressState
  adapter: Adapter
  optimizer: AdamWState
}

export interface CheckpointOptions {
  /** Go on from a checkpoint although it belongs to something else. Default false. */
  force?: boolean
}

export class CheckpointFolder {
  readonly #folder: string
  readonly #fingerprint: Fingerprint
  readonly #force: boolean

  /** @param fingerprint of base, data and config; a checkpoint with another one is refused */
  constructor(folder: string, fingerprint: Fingerprint, { force = false }: CheckpointOptions = {}) {
    this.#folder = folder
    this.#fingerprint = fingerprint
    this.#force = force
    mkdirSync(folder, { recursive: true, mode: 0o700 })
  }

  /**
   * @param keep how many of the newest stay, and one more that does whatever its age
   * @throws ShadowError store_failed when the disk is full, say; what was saved before stays
   */
  save(training: TrainingState, keep: { limit: number | null; best: number | null }): void {
    const { step } = training.state
    const partial = join(this.#folder, `.step-${step}.partial`)
    try {
      rmSync(partial, { recursive: true, force: true })
      this.#write(partial, training)
      const final = join(this.#folder, `step-${step}`)
      rmSync(final, { recursive: true, force: true })
      renameSync(partial, final)
    } catch (thrown) {
      rmSync(partial, { recursive: true, force: true })
      const last = stepsIn(this.#folder).at(-1)
      throw new ShadowError('store_failed', `Step ${step} could not be saved: ${messageOf(thrown)}.`, {
        hint: `Make room in ${this.#folder}; ${last === undefined ? 'nothing was saved before' : `the checkpoint of step ${last} is whole, and the same command goes on from it`}.`,
        cause: thrown,
      })
    }
    const steps = stepsIn(this.#folder)
    const kept = new Set(keep.limit === null ? steps : steps.slice(-keep.limit))
    for (const other of steps) {
      if (kept.has(other) || other === keep.best || other === step) continue
      rmSync(join(this.#folder, `step-${other}`), { recursive: true, force: true })
    }
  }

  #write(partial: string, { state, adapter, optimizer }: TrainingState): void {
    mkdirSync(partial, { mode: 0o700 })
    const names = adapter.parameterNames
    const moments = (prefix: string, values: readonly Float32Array[]): [string, TensorData][] =>
      values.map((data, index) => [`${prefix}.${names[index]}`, { shape: [data.length], data }])
    write(join(partial, 'adapter.safetensors'), encodeSafetensors(adapter.tensors()))
    write(
      join(partial, 'optimizer.safetensors'),
      encodeSafetensors(
        new Map([...moments('exp_avg', optimizer.first), ...moments('exp_avg_sq', optimizer.second)]),
      ),
    )
    const content = { ...state, fingerprint: this.#fingerprint }
    write(join(partial, 'state.json'), Buffer.from(`${JSON.stringify(content, null, 2)}\n`))
  }

  /**
   * The newest checkpoint of the folder; null where there is none.
   * @throws ShadowError invalid_file when it belongs to another base, dataset or config, or is damaged
   */
  newest(parameterNames: readonly string[]): Checkpoint | null {
    const step = stepsIn(this.#folder).at(-1)
    return step === undefined ? null : this.load(this.pathOf(step), parameterNames)
  }

  pathOf(step: number): string {
    return join(this.#folder, `step-${step}`)
  }

  /** Reads a checkpoint, be it in this folder or not. @throws ShadowError invalid_file */
  load(folder: string, parameterNames: readonly string[]): Checkpoint {
    const path = join(folder, 'state.json')
    const { fingerprint: old, ...state } = readState(path)
    const differ = differences(old, this.#fingerprint)
    if (differ.length > 0 && !this.#force) {
      throw new ShadowError('invalid_file', `${folder} belongs to another training: ${differ.join('; ')}.`, {
        hint: 'Set these back to go on from it, or remove the folder to start anew.',
      })
    }
    using adapter = openSafetensors(join(folder, 'adapter.safetensors'))
    using optimizer = openSafetensors(join(folder, 'optimizer.safetensors'))
    const parameters = new Map(
      [...adapter.tensors].map(([name, tensor]) => [name, { shape: tensor.shape, data: tensor.read() }]),
    )
    const moments = (prefix: string): Float32Array[] =>
      parameterNames.map((name) => {
        const tensor = optimizer.tensors.get(`${prefix}.${name}`)
        if (tensor !== undefined) return tensor.read()
        throw new ShadowError('invalid_file', `${folder} has no optimizer state for ${name}.`, {
          hint: 'It belongs to another adapter or is damaged; remove the folder to start anew.',
        })
      })
    return {
      folder,
      state,
      parameters,
      optimizer: { step: state.step, first: moments('exp_avg'), second: moments('exp_avg_sq') },
    }
  }
}

/** Steps of the whole checkpoints in a folder, ascending. */
export function stepsIn(folder: string): number[] {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) return []
  return readdirSync(folder)
    .flatMap((name) => /^step-(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .toSorted((a, b) => a - b)
}

/** The checkpoint that a path stands for: the folder itself, or the newest one in it. Null: there is none of ours. */
export function checkpointAt(path: string): string | null {
  if (existsSync(join(path, 'state.json'))) return path
  const newest = stepsIn(path).at(-1)
  return newest === undefined ? null : join(path, `step-${newest}`)
}

function readState(path: string): z.infer<typeof stateFile> {
  try {
    return stateFile.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch (thrown) {
    throw new ShadowError('invalid_file', `${path} can't be read: ${messageOf(thrown)}.`, {
      hint: 'Remove the folder; the training then goes on from the checkpoint before, or starts anew.',
      cause: thrown,
    })
  }
}

function write(path: string, bytes: Uint8Array): void {
  writeFileSync(path, bytes, { mode: 0o600, flush: true })
}
