/**
 * AdamW (arXiv 1711.05101) with PyTorch's arithmetic: p ← p·(1 − lr·wd) − lr·m̂ / (√v̂ + eps).
 * All parameters are changed in place by one native call.
 */
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { type AdamWOptions, type AdamWState, checkState, type Optimizer, withDefaults } from './optimizer.ts'

/** torch.optim.AdamW over f32 parameters, with f32 moments: 1e-6 beside it after 100 steps. */
export class AdamW implements Optimizer {
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
    this.#options = withDefaults(options)
    this.#first = runtime.keep(parameters.map((parameter) => runtime.zeros(parameter.shape)))
    this.#second = runtime.keep(parameters.map((parameter) => runtime.zeros(parameter.shape)))
  }

  /** Steps taken so far. */
  get step(): number {
    return this.#step
  }

  /** One step, in place. @param gradientScale multiplies every gradient first (1 / tokens, clipping) */
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

  /** A copy of the moments, f32. */
  exportState(): AdamWState {
    return {
      step: this.#step,
      first: this.#first.map((tensor) => tensor.toFloat32Array()),
      second: this.#second.map((tensor) => tensor.toFloat32Array()),
    }
  }

  /** Goes on from a state. @throws ShadowError `invalid_file` when it belongs to other parameters */
  importState(state: AdamWState): void {
    checkState(state, this.#parameters)
    this.#freeMoments()
    const restore = (moments: Float32Array[]): Tensor[] =>
      this.#runtime.keep(
        moments.map((data, index) => this.#runtime.fromFloat32(data, this.#parameters[index]?.shape ?? [])),
      )
    this.#first = restore(state.first)
    this.#second = restore(state.second)
    this.#step = state.step
  }

  /** Bytes that the moments take. */
  get stateBytes(): number {
    return 8 * this.#parameters.reduce((sum, { size }) => sum + size, 0)
  }

  /** Frees the moments; the parameters are the caller's. */
  dispose(): void {
    this.#freeMoments()
  }

  #freeMoments(): void {
    for (const tensor of [...this.#first, ...this.#second]) tensor.dispose()
  }
}
