/**
 * Gradient accumulation by token-weighted sums. Each micro-batch adds its Σ weight·nll, its Σ weight and the
 * gradient of the first; the division comes once, at the end. (A mean of micro-batch means would weigh tokens of
 * short micro-batches more.)
 */
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'

/** What one micro-batch gives. */
export interface MicroBatchResult {
  /** Σ weight·nll, nats. */
  lossSum: number
  /** Σ weight. */
  weightSum: number
  /** Tokens that were computed: in a tree, each shared one once. */
  tokens: number
  /** Tokens of all rows, each row on its own: what a packed batch computes. */
  rowTokens: number
  /** d lossSum / d parameter, evaluated; the accumulator takes them over. */
  gradients: Tensor[]
}

/** Sums what the micro-batches of a step give. */
export class GradientAccumulator {
  readonly #runtime: Runtime
  #gradients: Tensor[] = []
  #lossSum = 0
  #weightSum = 0

  constructor(runtime: Runtime) {
    this.#runtime = runtime
  }

  /** Takes a micro-batch in, and its gradients over: they are freed by `reset`. */
  add(result: MicroBatchResult): void {
    this.#lossSum += result.lossSum
    this.#weightSum += result.weightSum
    if (this.#gradients.length === 0) {
      this.#gradients = this.#runtime.keep(result.gradients)
      return
    }
    const handles = (tensors: readonly Tensor[]) => tensors.map((tensor) => tensor.handle)
    this.#runtime.native.addInPlace(handles(this.#gradients), handles(result.gradients))
    for (const gradient of result.gradients) gradient.dispose()
  }

  /** Σ weight·nll so far, nats. */
  get lossSum(): number {
    return this.#lossSum
  }

  /** Σ weight so far; in plain fine-tuning the number of target tokens. */
  get weightSum(): number {
    return this.#weightSum
  }

  /** Sums, not yet divided. */
  get gradients(): readonly Tensor[] {
    return this.#gradients
  }

  /** Σ weight·nll / Σ weight, nats a token. */
  get meanLoss(): number {
    return this.#lossSum / this.#weightSum
  }

  /** The norm of the mean gradient over all parameters. */
  get meanGradientNorm(): number {
    return globalNorm(this.#runtime, this.#gradients) / this.#weightSum
  }

  /** Frees the gradients and starts anew. */
  reset(): void {
    for (const gradient of this.#gradients) gradient.dispose()
    this.#gradients = []
    this.#lossSum = 0
    this.#weightSum = 0
  }
}

/** √Σ x² over all tensors, summed in f64. */
export function globalNorm(runtime: Runtime, tensors: readonly Tensor[]): number {
  return runtime.native.globalNorm(tensors.map((tensor) => tensor.handle))
}

/** The factor that brings a gradient of this norm to at most `maxNorm`; PyTorch's formula. null: no clipping. */
export function clipScale(norm: number, maxNorm: number | null): number {
  return maxNorm === null ? 1 : Math.min(1, maxNorm / (norm + 1e-6))
}
