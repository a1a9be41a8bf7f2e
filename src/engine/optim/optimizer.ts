/** What a training loop asks of an optimizer. */
import { ShadowError } from '../../lib/error.ts'
import type { Tensor } from '../tensor/tensor.ts'

/** Names and defaults of torch.optim.AdamW, but for the weight decay. */
export interface AdamWOptions {
  /** Default [0.9, 0.999]. */
  betas?: readonly [number, number]
  /** Default 1e-8. */
  eps?: number
  /** Default 0. */
  weightDecay?: number
}

/** What a resumed run needs, beside the parameters. */
export interface AdamWState {
  /** Steps taken. */
  step: number
  /** First moments, in the order of the parameters. */
  first: Float32Array[]
  /** Second moments. */
  second: Float32Array[]
}

/** Changes parameters in place, step by step. */
export interface Optimizer {
  /** Steps taken so far. */
  readonly step: number
  /** Bytes that the moments take. */
  readonly stateBytes: number
  /**
   * One step.
   * @param gradients evaluated, in the order of the parameters.
   * @param learningRate this step's.
   * @param gradientScale multiplies every gradient first (1 / tokens, clipping). Default 1.
   */
  update(gradients: readonly Tensor[], learningRate: number, gradientScale?: number): void
  /** A copy of the state. */
  exportState(): AdamWState
  /** Goes on from a state to the same bits. @throws ShadowError `invalid_file` when it belongs to other parameters. */
  importState(state: AdamWState): void
  /** Frees the moments; the parameters are the caller's. */
  dispose(): void
}

export function withDefaults(options: AdamWOptions): Required<AdamWOptions> {
  const { betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0 } = options
  return { betas, eps, weightDecay }
}

/** @throws ShadowError `invalid_file` when the state belongs to other parameters. */
export function checkState(state: AdamWState, parameters: readonly Tensor[]): void {
  const fits = (moments: Float32Array[]): boolean =>
    moments.length === parameters.length &&
    parameters.every((parameter, index) => moments[index]?.length === parameter.size)
  if (fits(state.first) && fits(state.second)) return
  throw new ShadowError('invalid_file', 'The optimizer state belongs to another adapter.', {
    hint: 'Resume with the configuration that wrote the checkpoint.',
  })
}
