/** Rotary position embedding: the angles. */
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { ropeFrequencies, type RopeSettings } from './rope-frequencies.ts'

export interface Rotation {
  /** (tokens, headDim / 2) */
  cosines: Tensor
  /** (tokens, headDim / 2) */
  sines: Tensor
}

/** Angles position · frequency, rounded to f32 as Hugging Face's `LlamaRotaryEmbedding` does. */
export class RotaryEmbedding {
  readonly #inverseFrequencies: Float32Array
  readonly #attentionFactor: number

  /** @throws ShadowError `invalid_config` for a scaling that is not supported */
  constructor(settings: RopeSettings) {
    const { inverse, attentionFactor } = ropeFrequencies(settings)
    this.#inverseFrequencies = inverse
    this.#attentionFactor = attentionFactor
  }

  /** One row of angles for each position. */
  at(runtime: Runtime, positions: Int32Array): Rotation {
    const half = this.#inverseFrequencies.length
    const cosines = new Float32Array(positions.length * half)
    const sines = new Float32Array(positions.length * half)
    let at = 0
    for (const position of positions) {
      for (const frequency of this.#inverseFrequencies) {
        const angle = Math.fround(position * frequency)
        cosines[at] = Math.cos(angle) * this.#attentionFactor
        sines[at] = Math.sin(angle) * this.#attentionFactor
        at++
      }
    }
    const shape = [positions.length, half]
    return { cosines: runtime.fromFloat32(cosines, shape), sines: runtime.fromFloat32(sines, shape) }
  }
}
