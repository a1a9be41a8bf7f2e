/** Rotary position embedding: the angles. */
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'

export interface Rotation {
  /** (tokens, headDim / 2) */
  cosines: Tensor
  /** (tokens, headDim / 2) */
  sines: Tensor
}

/**
 * Angles position · θ^(−2i/headDim), i = 0…headDim/2−1. Rounded to f32 at the same places as Hugging Face's
 * `LlamaRotaryEmbedding`, so that long positions agree to the last bits.
 */
export class RotaryEmbedding {
  readonly #inverseFrequencies: Float32Array

  constructor(headDim: number, theta: number) {
    this.#inverseFrequencies = Float32Array.from(
      { length: headDim / 2 },
      (_, i) => 1 / Math.fround(theta ** Math.fround((2 * i) / headDim)),
    )
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
        cosines[at] = Math.cos(angle)
        sines[at] = Math.sin(angle)
        at++
      }
    }
    const shape = [positions.length, half]
    return { cosines: runtime.fromFloat32(cosines, shape), sines: runtime.fromFloat32(sines, shape) }
  }
}
