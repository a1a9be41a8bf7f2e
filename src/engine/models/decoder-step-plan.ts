/** Generation with a decoder: one native call a step, without a graph. */
import { ShadowError } from '../../lib/error.ts'
import type { PlanHandle } from '../native/addon.ts'
import type { RotaryEmbedding } from '../nn/rotary.ts'
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { CachedTokens, StepPlan } from './causal-lm.ts'

/** @throws ShadowError `invalid_request` naming the first id that is no token */
export function checkIds(ids: Int32Array, vocabularySize: number): void {
  const outside = ids.find((id) => id < 0 || id >= vocabularySize)
  if (outside !== undefined)
    throw new ShadowError(
      'invalid_request',
      `Token id ${outside} is outside the vocabulary of ${vocabularySize}.`,
    )
}

export class DecoderStepPlan implements StepPlan {
  readonly #runtime: Runtime
  readonly #handle: PlanHandle
  readonly #rotaries: readonly RotaryEmbedding[]
  readonly #vocabularySize: number

  constructor(
    runtime: Runtime,
    handle: PlanHandle,
    rotaries: readonly RotaryEmbedding[],
    vocabularySize: number,
  ) {
    this.#runtime = runtime
    this.#handle = handle
    this.#rotaries = rotaries
    this.#vocabularySize = vocabularySize
  }

  step({ ids, positions, slots, cache }: CachedTokens, draws: readonly number[]): Tensor {
    const runtime = this.#runtime
    checkIds(ids, this.#vocabularySize)
    return runtime.tidy(() => {
      const angles = this.#rotaries.map((rotary) => rotary.at(runtime, positions, null))
      const cosines = angles.map((rotation) => rotation.cosines.handle)
      const sines = angles.map((rotation) => rotation.sines.handle)
      return runtime.wrap(
        runtime.native.decoderStep(this.#handle, cache, ids, positions, slots, cosines, sines, draws),
      )
    })
  }

  [Symbol.dispose](): void {
    this.#runtime.native.decoderPlanDispose(this.#handle)
  }
}
