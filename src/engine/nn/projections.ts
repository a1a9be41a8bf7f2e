/** Linear layers that read the same input, stacked into one frozen matrix so that one product serves them all. */
import { FrozenMatrix, samePacking } from '../tensor/frozen-matrix.ts'
import { type LoraFactors, loraLinear } from '../tensor/fused.ts'
import { add, concatenate, divide, matmul, multiply, transpose } from '../tensor/ops.ts'
import { bernoulli } from '../tensor/random.ts'
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { takeMatrix, takeWeight, type WeightSource } from './weights.ts'

/** One linear layer of the model, as an adapter sees it. */
export interface LinearSpec {
  /** Dotted path without `.weight`, e.g. `model.layers.0.self_attn.q_proj`. */
  path: string
  inFeatures: number
  outFeatures: number
  /** Adds `<path>.bias`. */
  hasBias: boolean
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

/** Neighbours whose weights lie in one matrix. */
interface Stack {
  readonly linears: readonly LinearSpec[]
  readonly weight: FrozenMatrix
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
      weight: takeMatrix(runtime, source, `${linear.path}.weight`, [linear.outFeatures, linear.inFeatures]),
    }))
    const runs: (typeof single)[] = []
    for (const item of single) {
      const run = runs.at(-1)
      const before = run?.[0]?.weight.packing
      if (run !== undefined && before !== undefined && samePacking(before, item.weight.packing))
        run.push(item)
      else runs.push([item])
    }
    this.#stacks = runs.map((run) => ({
      linears: run.map(({ linear }) => linear),
      weight: stacked(
        runtime,
        run.map(({ weight }) => weight),
      ),
    }))
    this.#bias = linears.some((linear) => linear.hasBias)
      ? runtime.keep(runtime.fromFloat32(stackedBiases(source, linears)))
      : null
  }

  /** x (rows, inFeatures) → (rows, Σ outFeatures). */
  apply(x: Tensor, options: ApplyOptions = {}): Tensor {
    const product = this.#multiply(x, options)
    return this.#bias === null ? product : add(product, this.#bias)
  }

  #multiply(x: Tensor, options: ApplyOptions): Tensor {
    const [first, ...rest] = this.#stacks
    if (first === undefined || rest.length === 0)
      return first === undefined ? x : applyStack(first, x, options)
    const { residual, ...others } = options
    const parts = rest.map((stack) => applyStack(stack, x, others))
    const result = concatenate([applyStack(first, x, others), ...parts], 1)
    return residual === undefined ? result : add(result, residual)
  }

  dispose(): void {
    for (const { weight } of this.#stacks) weight.dispose()
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

/** One matrix of them all, in their place. */
function stacked(runtime: Runtime, [first, ...rest]: readonly FrozenMatrix[]): FrozenMatrix {
  if (first === undefined) throw new RangeError('A stack has at least one matrix.')
  if (rest.length === 0) return first
  const all = [first, ...rest]
  const tensor = runtime.keep(concatenate([first.tensor, ...rest.map((weight) => weight.tensor)], 0))
  runtime.evaluate([tensor])
  for (const weight of all) weight.dispose()
  return new FrozenMatrix(tensor, first.packing)
}

function applyStack(
  { linears, weight }: Stack,
  x: Tensor,
  { lora = null, residual, exactRows = false }: ApplyOptions,
): Tensor {
  const outputs = linears.map((linear) => linear.outFeatures)
  const factors = lora === null ? undefined : linears.map((linear) => lora.factors(linear.path))
  const common = { exactRows, ...(residual === undefined ? {} : { residual }) }
  if (lora === null || factors === undefined) return loraLinear(x, weight, outputs, common)
  if (lora.dropout === undefined)
    return loraLinear(x, weight, outputs, { ...common, factors, scale: lora.scale })
  return withDropout(linears, x, loraLinear(x, weight, outputs, common), factors, lora)
}

/** PEFT drops elements of the adapter's input only, separately for each layer. */
function withDropout(
  linears: readonly LinearSpec[],
  x: Tensor,
  base: Tensor,
  factors: readonly (LoraFactors | null)[],
  lora: LoraView,
): Tensor {
  if (lora.dropout === undefined) return base
  const { probability, nextKey } = lora.dropout
  const keep = 1 - probability
  const deltas = linears.map((linear, index) => {
    const pair = factors[index] ?? null
    if (pair === null) return x.runtime.full([x.axis(0), linear.outFeatures], 0)
    const dropped = divide(multiply(x, bernoulli(nextKey(), keep, x.shape)), keep)
    return multiply(matmul(matmul(dropped, transpose(pair.a)), transpose(pair.b)), lora.scale)
  })
  const [first, ...rest] = deltas
  return first === undefined ? base : add(base, concatenate([first, ...rest], 1))
}
