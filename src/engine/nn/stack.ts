/** Neighbouring linear layers whose frozen weights lie in one matrix, with an adapter's part of each. */
import type { ProjectionsPlan } from '../native/addon.ts'
import type { FrozenMatrix } from '../tensor/frozen-matrix.ts'
import { type LoraFactors, loraLinear, type LoraLinearOptions } from '../tensor/fused.ts'
import {
  add,
  concatenate,
  divide,
  matmul,
  multiply,
  reshape,
  slice,
  square,
  sum,
  transpose,
} from '../tensor/ops.ts'
import { bernoulli } from '../tensor/random.ts'
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { AdapterView, FrozenLayer } from './adapter-view.ts'
import type { BaseTensor } from './base-tensor.ts'
import type { LinearSpec } from './projections.ts'

export interface StackOptions {
  view: AdapterView | null
  /** Added to the result. */
  residual?: Tensor | undefined
}

export class Stack {
  readonly linears: readonly LinearSpec[]
  readonly #weight: FrozenMatrix
  readonly #outputs: readonly number[]
  #squaredNorms: Tensor | null = null

  /** @param weight (Σ outFeatures, inFeatures), the layers' rows in their order */
  constructor(linears: readonly LinearSpec[], weight: FrozenMatrix) {
    this.linears = linears
    this.#weight = weight
    this.#outputs = linears.map((linear) => linear.outFeatures)
  }

  /** x (rows, inFeatures) → (rows, Σ outFeatures). */
  apply(x: Tensor, { view, residual }: StackOptions): Tensor {
    const trained = view?.weights?.get(this.#weight.tensor)
    if (trained !== undefined) {
      const product = matmul(x, transpose(trained))
      return residual === undefined ? product : add(product, residual)
    }
    const added = residual === undefined ? {} : { residual }
    if (view === null) return this.#product(x, added)
    const gains = this.#gains(view)
    if (view.dropout === undefined && gains === null)
      return this.#product(x, { ...this.#lora(view), ...added })
    const changed =
      view.dropout === undefined
        ? this.#product(x, this.#lora(view))
        : this.#withDropout(x, view, view.dropout, gains)
    const scaled = gains === null || view.dropout !== undefined ? changed : multiply(changed, joined(gains))
    return residual === undefined ? scaled : add(scaled, residual)
  }

  /** For generation. DoRA's gains, where there are any, are the view's to keep. */
  plan(view: AdapterView | null): ProjectionsPlan['stacks'][number] {
    const gains = view === null ? null : this.#gains(view)
    return {
      weight: this.#weight.tensor.handle,
      packing: this.#weight.packing,
      layers: this.linears.map(({ path, outFeatures }) => {
        const pair = view?.factors(path) ?? null
        return {
          outputs: outFeatures,
          a: pair?.a.handle ?? null,
          b: pair?.b.handle ?? null,
          scale: view?.scale(path) ?? 1,
        }
      }),
      gain: gains === null ? null : joined(gains).handle,
    }
  }

  /** √Σ W² of each row of one layer, (outFeatures). */
  rowNorms(path: string): Float32Array {
    const [from, to] = this.#rowsOf(path)
    return this.#norms().toFloat32Array().subarray(from, to).map(Math.sqrt)
  }

  baseTensor(): BaseTensor {
    const { tensor, packing } = this.#weight
    const parts = this.linears.map(({ path, outFeatures, inFeatures }) => ({
      name: `${path}.weight`,
      shape: [outFeatures, inFeatures],
    }))
    return { tensor, packing, parts }
  }

  dispose(): void {
    this.#weight.dispose()
    this.#squaredNorms?.dispose()
  }

  #product(x: Tensor, options: LoraLinearOptions): Tensor {
    return loraLinear(x, this.#weight, this.#outputs, options)
  }

  /** Layers of one scale share it; where scales differ each B carries its own. */
  #lora(view: AdapterView): Pick<LoraLinearOptions, 'factors' | 'scale'> {
    const pairs = this.linears.map(({ path }) => ({ pair: view.factors(path), scale: view.scale(path) }))
    const scales = new Set(pairs.flatMap(({ pair, scale }) => (pair === null ? [] : [scale])))
    const [scale = 1] = scales
    if (scales.size <= 1) return { factors: pairs.map(({ pair }) => pair), scale }
    return {
      factors: pairs.map(
        (layer) => layer.pair && { a: layer.pair.a, b: multiply(layer.pair.b, layer.scale) },
      ),
      scale: 1,
    }
  }

  /** DoRA's factors on the rows of each layer; null where no layer has any. */
  #gains(view: AdapterView): Tensor[] | null {
    const gains = this.linears.map(({ path }) => view.gain(path, () => this.#frozenLayer(path)))
    if (gains.every((gain) => gain === null)) return null
    return gains.map((gain, index) => gain ?? this.#runtime.full([this.#outputs[index] ?? 0], 1))
  }

  /**
   * PEFT drops elements of the adapter's input only, separately for each layer; with DoRA the base is seen through the
   * same gaps: W·x + (g − 1)·W·x̃ + g·s·B·A·x̃.
   */
  #withDropout(
    x: Tensor,
    view: AdapterView,
    { probability, nextKey }: NonNullable<AdapterView['dropout']>,
    gains: readonly Tensor[] | null,
  ): Tensor {
    const keep = 1 - probability
    const deltas = this.linears.map(({ path, outFeatures }, index) => {
      const pair = view.factors(path)
      if (pair === null) return this.#runtime.full([x.axis(0), outFeatures], 0)
      const dropped = divide(multiply(x, bernoulli(nextKey(), keep, x.shape)), keep)
      const low = lowRank(dropped, pair, view.scale(path))
      const gain = gains?.[index]
      if (gain === undefined) return low
      const [from, to] = this.#rowsOf(path)
      const base = slice(this.#product(dropped, {}), [0, from], [x.axis(0), to])
      return add(multiply(add(base, low), gain), multiply(base, -1))
    })
    const base = this.#product(x, {})
    const [first, ...rest] = deltas
    return first === undefined ? base : add(base, concatenate([first, ...rest], 1))
  }

  #frozenLayer(path: string): FrozenLayer {
    const [from, to] = this.#rowsOf(path)
    return {
      times: (a) => slice(this.#product(a, {}), [0, from], [a.axis(0), to]),
      squaredNorms: slice(this.#norms(), [from], [to]),
    }
  }

  #rowsOf(path: string): [from: number, to: number] {
    const index = this.linears.findIndex((linear) => linear.path === path)
    const from = this.#outputs.slice(0, index).reduce((total, rows) => total + rows, 0)
    return [from, from + (this.#outputs[index] ?? 0)]
  }

  /** Σ W² of all rows; computed once. */
  #norms(): Tensor {
    if (this.#squaredNorms === null) {
      const norms = this.#runtime.tidy(() => {
        const result = sum(square(this.#weight.dequantized()), { axes: [1] })
        this.#runtime.evaluate([result])
        return result
      })
      this.#squaredNorms = this.#runtime.keep(norms)
    }
    return this.#squaredNorms
  }

  get #runtime(): Runtime {
    return this.#weight.tensor.runtime
  }
}

/** scale·(x·Aᵀ)·Bᵀ */
function lowRank(x: Tensor, { a, b }: LoraFactors, scale: number): Tensor {
  return multiply(matmul(matmul(x, transpose(a)), transpose(b)), scale)
}

/** One row for all layers, (1, Σ out). */
function joined([first, ...rest]: readonly Tensor[]): Tensor {
  if (first === undefined) throw new RangeError('A stack has at least one layer.')
  return reshape(concatenate([first, ...rest], 0), [1, -1])
}
