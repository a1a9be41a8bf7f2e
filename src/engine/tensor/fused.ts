/** The engine's own operations: one native call where plain operations would make many, each with a derivative. */
import type { Activation } from '../native/addon.ts'
import { FrozenMatrix } from './frozen-matrix.ts'
import type { Tensor } from './tensor.ts'

export type { Activation } from '../native/addon.ts'

/** How attention's heads are laid out. */
export interface Heads {
  query: number
  /** Key and value heads; divides `query`. */
  key: number
  dim: number
  /** Multiplies the scores. Default 1/√dim. */
  scale?: number
  /** How many tokens a token sees, itself included. Default: all before it. */
  window?: number
}

/** The scale of the scores, and the window, 0 for none. */
export function scoring({ dim, scale = 1 / Math.sqrt(dim), window = 0 }: Heads): {
  scale: number
  window: number
} {
  return { scale, window }
}

/** x · weight / rms(x) over the last axis. x (…, d), weight (d). */
export function rmsNorm(x: Tensor, weight: Tensor, eps: number): Tensor {
  return x.runtime.wrap(x.runtime.native.rmsNorm(x.handle, weight.handle, eps))
}

/**
 * The rows `ids` (n) int32 of weight (vocabulary, h), (n, h). Differentiable in the weight: rows that were not taken
 * get zeros. Ids outside the vocabulary are the caller's to refuse.
 */
export function embedding(weight: Tensor, ids: Tensor): Tensor {
  return weight.runtime.wrap(weight.runtime.native.embedding(weight.handle, ids.handle))
}

/** act(gate) · up; gateUp (rows, 2n) holds gate, then up, in each row; result (rows, n). */
export function gatedActivation(gateUp: Tensor, activation: Activation): Tensor {
  return gateUp.runtime.wrap(gateUp.runtime.native.gatedActivation(gateUp.handle, activation))
}

/**
 * Rotary embedding in the half-split layout of Hugging Face, on the first `heads` heads of each row.
 * x (rows, columns), cosines and sines (rows, d / 2), one row for each of x; the first d ≤ headDim columns of a head
 * are rotated. Not differentiable in the angles.
 */
export function rope(x: Tensor, cosines: Tensor, sines: Tensor, heads: number, headDim: number): Tensor {
  return x.runtime.wrap(x.runtime.native.rope(x.handle, cosines.handle, sines.handle, heads, headDim))
}

/** Runs of tokens laid end to end, depth-first. */
export interface Runs {
  /** Where each run begins, then the end. */
  segments: Int32Array
  /** The run at whose end each run goes on, −1 for a root. Absent: all are roots, a packed batch. */
  parents?: Int32Array | undefined
}

/**
 * Causal attention over a forest of runs: a token sees its ancestor runs and, causally, its own.
 * qkv (tokens, (query + 2·key)·dim): all query heads, key heads, value heads of a token, rotated already.
 * Result (tokens, query·dim). Memory grows with the longest path, not with its square.
 */
export function attention(qkv: Tensor, { segments, parents = new Int32Array() }: Runs, heads: Heads): Tensor {
  const { query, key, dim } = heads
  const { scale, window } = scoring(heads)
  const { native } = qkv.runtime
  return qkv.runtime.wrap(native.attention(qkv.handle, segments, parents, query, key, dim, scale, window))
}

/** LoRA factors of one projection: a (r, k), b (n, r). */
export interface LoraFactors {
  a: Tensor
  b: Tensor
}

export interface LoraLinearOptions {
  /** One entry for each projection; null leaves that one as it is. */
  factors?: readonly (LoraFactors | null)[]
  /** Multiplies every low-rank product. */
  scale?: number
  /** (rows, n), added to the result. */
  residual?: Tensor
  /** Inference: a row's result does not depend on the other rows, to the last bit. */
  exactRows?: boolean
}

function frozen(weight: Tensor | FrozenMatrix): FrozenMatrix {
  return weight instanceof FrozenMatrix ? weight : new FrozenMatrix(weight)
}

/**
 * Projections of one input through one frozen, stacked matrix: y_i = x·W_iᵀ + scale·(x·A_iᵀ)·B_iᵀ.
 * x (rows, k), weight (Σ outputs, k), outputs: each projection's width; result (rows, Σ outputs).
 * Differentiable in x, the factors and the residual, not in the weight.
 */
export function loraLinear(
  x: Tensor,
  weight: Tensor | FrozenMatrix,
  outputs: readonly number[],
  options: LoraLinearOptions = {},
): Tensor {
  const { tensor, packing } = frozen(weight)
  const factors = options.factors ?? outputs.map(() => null)
  return x.runtime.wrap(
    x.runtime.native.loraLinear(
      x.handle,
      tensor.handle,
      outputs,
      factors.map((pair) => pair?.a.handle ?? null),
      factors.map((pair) => pair?.b.handle ?? null),
      options.scale ?? 1,
      options.residual?.handle ?? null,
      options.exactRows ?? false,
      packing,
    ),
  )
}

/**
 * −log softmax(hidden[rows[i]]·weightᵀ)[targets[i]], in nats, without keeping logits.
 * hidden (tokens, h), weight (vocabulary, h), rows and targets (n) int32; result (n). Differentiable in hidden;
 * `needsGradient: false` saves the work for it.
 */
export function linearCrossEntropy(
  hidden: Tensor,
  weight: Tensor | FrozenMatrix,
  rows: Tensor,
  targets: Tensor,
  needsGradient: boolean,
): Tensor {
  const { native } = hidden.runtime
  const { tensor, packing } = frozen(weight)
  return hidden.runtime.wrap(
    native.linearCrossEntropy(
      hidden.handle,
      tensor.handle,
      rows.handle,
      targets.handle,
      needsGradient,
      packing,
    ),
  )
}
