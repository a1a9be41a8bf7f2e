/** Linear layers that read the same input, stacked into one frozen matrix so that one product serves them all. */
import { type LoraFactors, loraLinear } from '../tensor/fused.ts'
import { add, concatenate, divide, matmul, multiply, transpose } from '../tensor/ops.ts'
import { bernoulli } from '../tensor/random.ts'
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { takeWeight, type WeightSource } from './weights.ts'

/** One linear layer of the model, as an adapter sees it. */
export interface LinearSpec {
  /** Dotted path without `.weight`, e.g. `model.layers.0.self_attn.q_proj`. */
  path: string
  inFeatures: number
  outFeatures: number
}

/** The active adapter in a forward pass. */
export interface LoraView {
  /** The factors for a layer's path, if it is adapted. */
  factors(path: string): LoraFactors | null
  scale: number
  /** Set while training with dropout: the probability and a fresh key for each call. */
  dropout?: { probability: number; nextKey: () => Tensor }
}

export interface ApplyOptions {
  lora?: LoraView | null
  /** Added to the result. */
  residual?: Tensor
  /** Inference: results do not depend on the other rows of the batch. */
  exactRows?: boolean
}

export class Projections {
  readonly linears: readonly LinearSpec[]
  readonly #weight: Tensor

  /** Reads `<path>.weight` of each layer, (outFeatures, inFeatures) f32, and stacks them. */
  constructor(runtime: Runtime, source: WeightSource, linears: readonly LinearSpec[]) {
    this.linears = linears
    const inFeatures = linears[0]?.inFeatures ?? 0
    const rows = linears.reduce((total, linear) => total + linear.outFeatures, 0)
    const stacked = new Float32Array(rows * inFeatures)
    let offset = 0
    for (const linear of linears) {
      const data = takeWeight(source, `${linear.path}.weight`, [linear.outFeatures, inFeatures])
      stacked.set(data, offset)
      offset += data.length
    }
    this.#weight = runtime.keep(runtime.fromFloat32(stacked, [rows, inFeatures]))
  }

  /** x (rows, inFeatures) → (rows, Σ outFeatures). */
  apply(x: Tensor, { lora = null, residual, exactRows = false }: ApplyOptions = {}): Tensor {
    const outputs = this.linears.map((linear) => linear.outFeatures)
    const factors = lora === null ? undefined : this.linears.map((linear) => lora.factors(linear.path))
    const common = { exactRows, ...(residual === undefined ? {} : { residual }) }
    if (lora === null || factors === undefined) return loraLinear(x, this.#weight, outputs, common)
    if (lora.dropout === undefined)
      return loraLinear(x, this.#weight, outputs, { ...common, factors, scale: lora.scale })
    return this.#applyWithDropout(x, loraLinear(x, this.#weight, outputs, common), factors, lora)
  }

  /** PEFT drops elements of the adapter's input only, separately for each layer. */
  #applyWithDropout(
    x: Tensor,
    base: Tensor,
    factors: readonly (LoraFactors | null)[],
    lora: LoraView,
  ): Tensor {
    if (lora.dropout === undefined) return base
    const { probability, nextKey } = lora.dropout
    const keep = 1 - probability
    const deltas = this.linears.map((linear, index) => {
      const pair = factors[index] ?? null
      if (pair === null) return x.runtime.full([x.axis(0), linear.outFeatures], 0)
      const dropped = divide(multiply(x, bernoulli(nextKey(), keep, x.shape)), keep)
      return multiply(matmul(matmul(dropped, transpose(pair.a)), transpose(pair.b)), lora.scale)
    })
    const [first, ...rest] = deltas
    return first === undefined ? base : add(base, concatenate([first, ...rest], 1))
  }

  dispose(): void {
    this.#weight.dispose()
  }
}
