/** Normalisation by the root mean square, with a weight for each column. */
import type { NormPlan } from '../native/addon.ts'
import { rmsNorm } from '../tensor/fused.ts'
import { add } from '../tensor/ops.ts'
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { type AdapterView, current } from './adapter-view.ts'
import type { BaseTensor } from './base-tensor.ts'
import { takeWeight, type WeightSource } from './weights.ts'

export interface RmsNormOptions {
  eps: number
  /** Added to the weight: Gemma stores its weights less 1. */
  offset: number
}

export class RmsNorm {
  readonly #path: string
  readonly #weight: Tensor
  readonly #options: RmsNormOptions

  /** Reads `<path>.weight`, (size) f32. */
  constructor(runtime: Runtime, source: WeightSource, path: string, size: number, options: RmsNormOptions) {
    this.#weight = runtime.keep(runtime.fromFloat32(takeWeight(source, `${path}.weight`, [size])))
    this.#path = path
    this.#options = options
  }

  /** x (…, size) → the same shape. */
  apply(x: Tensor, view: AdapterView | null): Tensor {
    const { eps, offset } = this.#options
    const weight = current(view, this.#weight)
    return rmsNorm(x, offset === 0 ? weight : add(weight, offset), eps)
  }

  plan(): NormPlan {
    return { weight: this.#weight.handle, ...this.#options }
  }

  baseTensor(): BaseTensor {
    const { shape } = this.#weight
    return { tensor: this.#weight, packing: null, parts: [{ name: `${this.#path}.weight`, shape }] }
  }

  dispose(): void {
    this.#weight.dispose()
  }
}
