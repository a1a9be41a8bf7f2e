/**
 * AdamW (arXiv 1711.05101) with PyTorch's arithmetic: p ← p·(1 − lr·wd) − lr·m̂ / (√v̂ + eps).
 * All parameters are changed in place by one native call.
 */
import { ShadowError } from '../../lib/error.ts'
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'

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

export class AdamW {
  readonly #runtime: Runtime
  readonly #parameters: readonly Tensor[]
  readonly #options: Required<AdamWOptions>
  #first: Tensor[]
  #second: Tensor[]
  #step = 0

  /** @param parameters f32, owned by the caller, never shared with a graph that is still to be evaluated. */
  constructor(runtime: Runtime, parameters: readonly Tensor[], options: AdamWOptions = {}) {
    this.#runtime = runtime
    this.#parameters = parameters
    this.#options = {
      betas: options.betas ?? [0.9, 0.999],
      eps: options.eps ?? 1e-8,
      weightDecay: options.weightDecay ?? 0,
    }
    this.#first = runtime.keep(parameters.map((parameter) => runtime.zeros(parameter.shape)))
    this.#second = runtime.keep(parameters.map((parameter) => runtime.zeros(parameter.shape)))
  }

  /** Steps taken so far. */
  get step(): number {
    return this.#step
  }

  /**
   * One step.
   * @param gradients evaluated, in the order of the parameters.
   * @param learningRate this step's.
   * @param gradientScale multiplies every gradient first (1 / tokens, clipping).
   */
  update(gradients: readonly Tensor[], learningRate: number, gradientScale = 1): void {
    this.#step++
    const handles = (tensors: readonly Tensor[]) => tensors.map((tensor) => tensor.handle)
    const { betas, eps, weightDecay } = this.#options
    this.#runtime.native.adamw(
      handles(this.#parameters),
      handles(gradients),
      handles(this.#first),
      handles(this.#second),
      learningRate,
      betas[0],
      betas[1],
      eps,
      weightDecay,
      this.#step,
      gradientScale,
    )
  }

  /** A copy of the state. */
  exportState(): AdamWState {
    return {
      step: this.#step,
      first: this.#first.map((tensor) => tensor.toFloat32Array()),
      second: this.#second.map((tensor) => tensor.toFloat32Array()),
    }
  }

  /** @throws ShadowError `invalid_file` when the state belongs to other parameters. */
  importState(state: AdamWState): void {
    const fits = (moments: Float32Array[]): boolean =>
      moments.length === this.#parameters.length &&
      this.#parameters.every((parameter, index) => moments[index]?.length === parameter.size)
    if (!fits(state.first) || !fits(state.second))
      throw new ShadowError('invalid_file', 'The optimizer state belongs to another adapter.', {
        hint: 'Resume with the configuration that wrote the checkpoint.',
      })
    this.#freeMoments()
    const restore = (moments: Float32Array[]): Tensor[] =>
      this.#runtime.keep(
        moments.map((data, index) => this.#runtime.fromFloat32(data, this.#parameters[index]?.shape ?? [])),
      )
    this.#first = restore(state.first)
    this.#second = restore(state.second)
    this.#step = state.step
  }

  dispose(): void {
    this.#freeMoments()
  }

  #freeMoments(): void {
    for (const tensor of [...this.#first, ...this.#second]) tensor.dispose()
  }
}
