/**
 * Checkpoints: `step-<n>` folders with adapter, optimizer state and the fingerprint of what they belong to.
 * A folder appears whole, by a rename; only the newest is kept.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { TrainMetric } from '../src/contract/run.ts'
import { trainMetric } from '../src/contract/run.ts'
import {
  type AdamWState,
  encodeSafetensors,
  type LoraAdapter,
  openSafetensors,
  type TensorData,
} from '../src/engine/index.ts'
import { ShadowError } from '../src/lib/error.ts'

const stateFile = z.object({
  step: z.number().int().positive(),
  fingerprint: z.string(),
  metrics: z.array(trainMetric),
})

export interface Checkpoint {
  /** Optimizer steps done. */
  step: number
  metrics: TrainMetric[]
  parameters: ReadonlyMap<string, TensorData>
  optimizer: AdamWState
}

export interface TrainingState {
  step: number
  metrics: readonly TrainMetric[]
  adapter: LoraAdapter
  optimizer: AdamWState
}

export class CheckpointFolder {
  readonly #folder: string
  readonly #fingerprint: string

  /** @param fingerprint of base, data and config; a checkpoint with another one is refused */
  constructor(folder: string, fingerprint: string) {
    this.#folder = folder
    this.#fingerprint = fingerprint
    mkdirSync(folder, { recursive: true, mode: 0o700 })
  }

  save(state: TrainingState): void {
    const name = `step-${state.step}`
    const partial = join(this.#folder, `.${name}.partial`)
    rmSync(partial, { recursive: true, force: true })
    mkdirSync(partial, { mode: 0o700 })
    const names = state.adapter.parameterNames
    const moments = (prefix: string, values: readonly Float32Array[]): [string, TensorData][] =>
      values.map((data, index) => [`${prefix}.${names[index]}`, { shape: [data.length], data }])
    write(join(partial, 'adapter.safetensors'), encodeSafetensors(state.adapter.tensors()))
    write(
      join(partial, 'optimizer.safetensors'),
      encodeSafetensors(
        new Map([
          ...moments('exp_avg', state.optimizer.first),
          ...moments('exp_avg_sq', state.optimizer.second),
        ]),
      ),
    )
    const content = { step: state.step, fingerprint: this.#fingerprint, metrics: state.metrics }
    write(join(partial, 'state.json'), Buffer.from(JSON.stringify(content)))
    const final = join(this.#folder, name)
    rmSync(final, { recursive: true, force: true })
    renameSync(partial, final)
    for (const other of this.#steps()) {
      if (other !== state.step) rmSync(join(this.#folder, `step-${other}`), { recursive: true, force: true })
    }
  }

  /**
   * The newest checkpoint; null where there is none.
   * @throws ShadowError invalid_file when it belongs to another base, dataset or config
   */
  load(parameterNames: readonly string[]): Checkpoint | null {
    const newest = this.#steps().at(-1)
    if (newest === undefined) return null
    const folder = join(this.#folder, `step-${newest}`)
    const state = stateFile.parse(JSON.parse(readFileSync(join(folder, 'state.json'), 'utf8')))
    if (state.fingerprint !== this.#fingerprint) {
      throw new ShadowError('invalid_file', `${folder} belongs to another base model, dataset or config.`, {
        hint: 'Remove the folder to start anew.',
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
        throw new ShadowError('invalid_file', `${folder} has no optimizer state for ${name}.`)
      })
    return {
      step: state.step,
      metrics: state.metrics,
      parameters,
      optimizer: { step: state.step, first: moments('exp_avg'), second: moments('exp_avg_sq') },
    }
  }

  /** Steps of the complete checkpoints, oldest first. */
  #steps(): number[] {
    return readdirSync(this.#folder)
      .flatMap((name) => /^step-(\d+)$/.exec(name)?.[1] ?? [])
      .map(Number)
      .toSorted((a, b) => a - b)
  }
}

function write(path: string, bytes: Uint8Array): void {
  writeFileSync(path, bytes, { mode: 0o600, flush: true })
}
