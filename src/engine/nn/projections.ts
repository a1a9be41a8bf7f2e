/** Linear layers that read the same input, stacked into one frozen matrix so that one product serves them all. */
import type { ProjectionsPlan } from '../native/addon.ts'
import { samePacking } from '../tensor/frozen-matrix.ts'
import { add, concatenate } from '../tensor/ops.ts'
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { type AdapterView, current } from './adapter-view.ts'
import type { BaseTensor } from './base-tensor.ts'
import { Stack } from './stack.ts'
import { freeze, takeRows, takeWeight, type WeightSource } from './weights.ts'

/** One linear layer of the model, as an adapter sees it. */
export interface LinearSpec {
  /** Dotted path without `.weight`, e.g. `model.layers.0.self_attn.q_proj`. */
  path: string
  /** Columns of its weight. */
  inFeatures: number
  /** Rows of its weight. */
  outFeatures: number
  /** Adds `<path>.bias`. */
  hasBias: boolean
}

export interface ApplyOptions {
  view?: AdapterView | null
  /** Added to the result. */
  residual?: Tensor
}

export class Projections {
  readonly linears: readonly LinearSpec[]
  readonly #stacks: readonly Stack[]
  readonly #bias: Tensor | null

  /** Reads `<path>.weight` of each layer, (outFeatures, inFeatures), and stacks what is packed alike; and the biases. */
  constructor(runtime: Runtime, source: WeightSource, linears: readonly LinearSpec[]) {
    this.linears = linears
    const single = linears.map((linear) => ({
      linear,
      weight: takeRows(runtime, source, `${linear.path}.weight`, [linear.outFeatures, linear.inFeatures]),
    }))
    const runs: (typeof single)[] = []
    for (const item of single) {
      const run = runs.at(-1)
      const before = run?.[0]?.weight.packing
      if (run !== undefined && before !== undefined && samePacking(before, item.weight.packing))
        run.push(item)
      else runs.push([item])
    }
    this.#stacks = runs.map(
      (run) =>
        new Stack(
          run.map(({ linear }) => linear),
          freeze(
            runtime,
            run.map(({ weight }) => weight),
          ),
        ),
    )
    this.#bias = linears.some((linear) => linear.hasBias)
      ? runtime.keep(runtime.fromFloat32(stackedBiases(source, linears)))
      : null
  }

  /** x (rows, inFeatures) → (rows, Σ outFeatures). */
  apply(x: Tensor, options: ApplyOptions = {}): Tensor {
    const product = this.#multiply(x, options)
    return this.#bias === null ? product : add(product, current(options.view ?? null, this.#bias))
  }

  #multiply(x: Tensor, { view = null, residual }: ApplyOptions): Tensor {
    const [first, ...rest] = this.#stacks
    if (first === undefined) return x
    if (rest.length === 0) return first.apply(x, { view, residual })
    const result = concatenate(
      [first.apply(x, { view }), ...rest.map((stack) => stack.apply(x, { view }))],
      1,
    )
    return residual === undefined ? result : add(result, residual)
  }

  /** For generation. */
  plan(view: AdapterView | null): ProjectionsPlan {
    return { stacks: this.#stacks.map((stack) => stack.plan(view)), bias: this.#bias?.handle ?? null }
  }

  /** √Σ W² of each row of one of the layers, (outFeatures); null for a layer that is not among them. */
  rowNorms(path: string): Float32Array | null {
    const stack = this.#stacks.find(({ linears }) => linears.some((linear) => linear.path === path))
    return stack?.rowNorms(path) ?? null
  }

  baseTensors(): BaseTensor[] {
    const parts = this.linears.map(({ path, outFeatures }) => ({
      name: `${path}.bias`,
      shape: [outFeatures],
    }))
    const biases = this.#bias === null ? [] : [{ tensor: this.#bias, packing: null, parts }]
    return [...this.#stacks.map((stack) => stack.baseTensor()), ...biases]
  }

  dispose(): void {
    for (const stack of this.#stacks) stack.dispose()
    this.#bias?.dispose()
  }
}

/** (Σ outFeatures), zeros where a layer has none. */
function stackedBiases(source: WeightSource, linears: readonly LinearSpec[]): Float32Array {
  const parts = linears.map(({ path, outFeatures, hasBias }) =>
    hasBias ? takeWeight(source, `${path}.bias`, [outFeatures]) : new Float32Array(outFeatures),
  )
  return Float32Array.from(parts.flatMap((part) => [...part]))
}
