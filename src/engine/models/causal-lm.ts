/** What every language model of this engine can do; training and generation know no more than this. */
import type { CacheHandle } from '../native/addon.ts'
import type { AdapterView } from '../nn/adapter-view.ts'
import type { BaseTensor } from '../nn/base-tensor.ts'
import type { LinearSpec } from '../nn/projections.ts'
import type { FrozenMatrix } from '../tensor/frozen-matrix.ts'
import type { Runs } from '../tensor/fused.ts'
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'

/** Sequences laid end to end, without padding, or the runs of a token tree, depth-first. */
export interface PackedTokens extends Runs {
  /** All runs' token ids. */
  ids: Int32Array
  /** Each token's position in its sequence: in a tree, its depth. */
  positions: Int32Array
}

/** Rows of running sequences; several rows of one slot may come in one step. */
export interface CachedTokens {
  ids: Int32Array
  positions: Int32Array
  slots: Int32Array
  cache: CacheHandle
}

/** A model with an adapter, laid out for generation. It sees changes that are made to their tensors in place. */
export interface StepPlan extends Disposable {
  /**
   * Feeds rows into the cache, each of which sees what its slot holds before it; a row does not depend on the others.
   * @param draws indices of rows
   * @returns logits (draws, vocabulary)
   * @throws ShadowError `invalid_request` beyond the context or outside the vocabulary
   */
  step(tokens: CachedTokens, draws: readonly number[]): Tensor
}

/** A decoder with its LM head, of any family. Made by `loadModel` or `createModel`. */
export interface CausalLM {
  /** What its tensors live in; all work on them happens in its thread. */
  readonly runtime: Runtime
  /** Rows of the embedding; token ids are below it. */
  readonly vocabularySize: number
  /** The longest sequence that the model generates, in tokens. */
  readonly contextLength: number
  /**
   * The longest row that may share tokens with others in a tree; longer ones are packed. Infinite unless the angles of
   * a token depend on the length of its row.
   */
  readonly sharedLength: number
  /** The linear layers that an adapter can change, in the model's order. */
  readonly linears: readonly LinearSpec[]
  /** The LM head, (vocabulary, hidden), frozen. */
  readonly head: FrozenMatrix
  /**
   * Hidden states after the last norm, (tokens, hidden); differentiable in the adapter's factors.
   * @param checkpointed given for gradient checkpointing: what is differentiated. Each block then keeps its input alone
   *   and is computed again in the backward pass
   */
  hidden(tokens: PackedTokens, view: AdapterView | null, checkpointed?: readonly Tensor[]): Tensor
  /** The same for generation, laid out once for many steps. */
  plan(view: AdapterView | null): StepPlan
  /** hidden (n, h) → logits (n, vocabulary), each row independent of the others. */
  logits(hidden: Tensor): Tensor
  /** Keys and values for `slots` sequences of up to `positions` tokens. */
  createCache(slots: number, positions: number): CacheHandle
  /** √Σ W² of each row of the linear layer at `path`, (outFeatures). */
  rowNorms(path: string): Float32Array
  /** All of the base, each tensor once. */
  baseTensors(): BaseTensor[]
  /** Frees the weights; using the model afterwards is an error. */
  dispose(): void
}

/** Packs sequences for `hidden`. */
export function pack(sequences: readonly (Int32Array | readonly number[])[]): PackedTokens {
  const total = sequences.reduce((sum, ids) => sum + ids.length, 0)
  const ids = new Int32Array(total)
  const positions = new Int32Array(total)
  const segments = new Int32Array(sequences.length + 1)
  let offset = 0
  sequences.forEach((sequence, index) => {
    segments[index] = offset
    ids.set(sequence, offset)
    for (let t = 0; t < sequence.length; t++) positions[offset + t] = t
    offset += sequence.length
  })
  segments[sequences.length] = offset
  return { ids, positions, segments }
}
