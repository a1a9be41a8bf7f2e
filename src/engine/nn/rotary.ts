/** Rotary position embedding: the angles. */
import { ShadowError } from '../../lib/error.ts'
import type { Runs } from '../tensor/fused.ts'
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { type RopeFrequencies, ropeFrequencies, type RopeSettings } from './rope-frequencies.ts'

export interface Rotation {
  /** (tokens, turned columns / 2) */
  cosines: Tensor
  /** (tokens, turned columns / 2) */
  sines: Tensor
}

/** Angles position · frequency, rounded to f32 as Hugging Face's `LlamaRotaryEmbedding` does. */
export class RotaryEmbedding {
  readonly #frequencies: RopeFrequencies

  /** @throws ShadowError `invalid_config` for a scaling that is not supported */
  constructor(settings: RopeSettings) {
    this.#frequencies = ropeFrequencies(settings)
  }

  /**
   * Up to this many tokens a token's angles depend on its position alone; beyond it, on the length of the whole
   * sequence too. Infinite for most.
   */
  get steadyLength(): number {
    return this.#frequencies.longer?.than ?? Number.POSITIVE_INFINITY
  }

  /**
   * One row of angles for each position.
   * @param runs whole sequences; without them, positions that are still being written
   * @throws ShadowError `invalid_request` beyond `steadyLength`, where the length of the sequence is not known yet or
   *   sequences share tokens
   */
  at(runtime: Runtime, positions: Int32Array, runs: Runs | null): Rotation {
    const { inverse, attentionFactor } = this.#frequencies
    const half = inverse.length
    const cosines = new Float32Array(positions.length * half)
    const sines = new Float32Array(positions.length * half)
    const fill = (from: number, to: number, frequencies: Float32Array): void => {
      let at = from * half
      for (const position of positions.subarray(from, to)) {
        for (const frequency of frequencies) {
          const angle = Math.fround(position * frequency)
          cosines[at] = Math.cos(angle) * attentionFactor
          sines[at] = Math.sin(angle) * attentionFactor
          at++
        }
      }
    }
    fill(0, positions.length, inverse)
    for (const { from, to, frequencies } of this.#longSequences(positions, runs)) fill(from, to, frequencies)
    const shape = [positions.length, half]
    return { cosines: runtime.fromFloat32(cosines, shape), sines: runtime.fromFloat32(sines, shape) }
  }

  /** The token ranges of sequences beyond `steadyLength`, with their own speeds. */
  #longSequences(
    positions: Int32Array,
    runs: Runs | null,
  ): { from: number; to: number; frequencies: Float32Array }[] {
    const { longer } = this.#frequencies
    if (longer === undefined || positions.every((position) => position < longer.than)) return []
    if (runs === null || runs.parents?.some((parent) => parent >= 0) === true)
      throw new ShadowError(
        'invalid_request',
        runs === null
          ? `This model generates within ${longer.than} tokens: its rope scaling turns all tokens of a longer text anew.`
          : `Rows of more than ${longer.than} tokens cannot share tokens: this model's rope scaling depends on their length.`,
        { hint: 'Use shorter texts.' },
      )
    const { segments } = runs
    return Array.from(segments.subarray(1), (to, run) => ({ from: segments[run] ?? 0, to })).flatMap(
      (range) => {
        const length = range.to - range.from
        return length > longer.than ? [{ ...range, frequencies: longer.inverse(length) }] : []
      },
    )
  }
}
