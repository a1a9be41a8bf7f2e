/**
 * AdamW with moments of 8 bits (arXiv 2110.02861), as bitsandbytes' `adamw_8bit` keeps them: one byte a value and one
 * scale for 256 of them. Parameters of fewer than 4,096 values keep moments in f32.
 */
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'
import { AdamW } from './adamw.ts'
import { type AdamWOptions, type AdamWState, checkState, type Optimizer, withDefaults } from './optimizer.ts'

const blockSize = 256
const leastSize = 4096

interface PackedMoments {
  codes: Uint8Array
  /** One for each block; carries the sign of the block's largest value. */
  scales: Float32Array
}

interface Large {
  parameter: Tensor
  /** Among all parameters. */
  index: number
  first: PackedMoments
  second: PackedMoments
}

/** AdamW with a quarter of the moments' memory. */
export class AdamW8bit implements Optimizer {
  readonly #runtime: Runtime
  readonly #parameters: readonly Tensor[]
  readonly #options: Required<AdamWOptions>
  readonly #large: readonly Large[]
  /** Indices of the others, ascending. */
  readonly #small: ReadonlySet<number>
  readonly #inFull: AdamW
  #step = 0

  /** @param parameters f32, owned by the caller, never shared with a graph that is still to be evaluated. */
  constructor(runtime: Runtime, parameters: readonly Tensor[], options: AdamWOptions = {}) {
    this.#runtime = runtime
    this.#parameters = parameters
    this.#options = withDefaults(options)
    this.#large = parameters.flatMap((parameter, index) =>
      parameter.size < leastSize
        ? []
        : [
            {
              parameter,
              index,
              first: this.#packed(new Float32Array(parameter.size), true),
              second: this.#packed(new Float32Array(parameter.size), false),
            },
          ],
    )
    this.#small = new Set(
      [...parameters.keys()].filter((index) => (parameters[index]?.size ?? 0) < leastSize),
    )
    this.#inFull = new AdamW(runtime, this.#smallOf(parameters), options)
  }

  /** Steps taken so far. */
  get step(): number {
    return this.#step
  }

  /** Bytes that the moments take. */
  get stateBytes(): number {
    const bytes = ({ codes, scales }: PackedMoments): number => codes.byteLength + scales.byteLength
    return this.#large.reduce(
      (sum, { first, second }) => sum + bytes(first) + bytes(second),
      this.#inFull.stateBytes,
    )
  }

  /** One step, in place. @param gradientScale multiplies every gradient first (1 / tokens, clipping) */
  update(gradients: readonly Tensor[], learningRate: number, gradientScale = 1): void {
    this.#step++
    this.#inFull.update(this.#smallOf(gradients), learningRate, gradientScale)
    const { betas, eps, weightDecay } = this.#options
    this.#runtime.native.adamw8(
      this.#large.map(({ parameter }) => parameter.handle),
      this.#large.flatMap(({ index }) => gradients[index]?.handle ?? []),
      this.#large.map(({ first }) => first.codes),
      this.#large.map(({ first }) => first.scales),
      this.#large.map(({ second }) => second.codes),
      this.#large.map(({ second }) => second.scales),
      learningRate,
      betas[0],
      betas[1],
      eps,
      weightDecay,
      this.#step,
      gradientScale,
    )
  }

  /** The values that the codes stand for; packed again they give the same codes. */
  exportState(): AdamWState {
    const small = this.#inFull.exportState()
    const all = (order: 'first' | 'second'): Float32Array[] => {
      const moments: Float32Array[] = this.#parameters.map(() => new Float32Array())
      ;[...this.#small].forEach((index, at) => {
        moments[index] = small[order][at] ?? new Float32Array()
      })
      for (const large of this.#large) {
        const { codes, scales } = large[order]
        moments[large.index] = this.#runtime.native.unpackMoments(codes, scales, order === 'first')
      }
      return moments
    }
    return { step: this.#step, first: all('first'), second: all('second') }
  }

  /** Goes on from a state. @throws ShadowError `invalid_file` when it belongs to other parameters */
  importState(state: AdamWState): void {
    checkState(state, this.#parameters)
    this.#inFull.importState({
      step: state.step,
      first: this.#smallOf(state.first),
      second: this.#smallOf(state.second),
    })
    for (const large of this.#large) {
      large.first = this.#packed(state.first[large.index] ?? new Float32Array(), true)
      large.second = this.#packed(state.second[large.index] ?? new Float32Array(), false)
    }
    this.#step = state.step
  }

  /** Frees the moments; the parameters are the caller's. */
  dispose(): void {
    this.#inFull.dispose()
  }

  #smallOf<T>(all: readonly T[]): T[] {
    return all.filter((_, index) => this.#small.has(index))
  }

  #packed(values: Float32Array, signed: boolean): PackedMoments {
    const codes = new Uint8Array(values.length)
    const scales = new Float32Array(Math.ceil(values.length / blockSize))
    this.#runtime.native.packMoments(values, codes, scales, signed)
    return { codes, scales }
  }
}
