/** The active adapter in a forward pass, as layers ask for it. */
import type { LoraFactors } from '../tensor/fused.ts'
import type { Tensor } from '../tensor/tensor.ts'

/** What DoRA needs to know of a frozen layer W (out, in). */
export interface FrozenLayer {
  /** a (r, in) → a·Wᵀ (r, out) */
  times(a: Tensor): Tensor
  /** Σ W² of each row, (out) */
  readonly squaredNorms: Tensor
}

/** What an adapter adds to each layer in one pass. Made by `Adapter.view`. */
export interface AdapterView {
  /** The factors for a layer's path, if it is adapted. */
  factors(path: string): LoraFactors | null
  /** The factor on B·A of the layer at `path`. */
  scale(path: string): number
  /** DoRA: what the rows of W + scale·B·A are multiplied by, (out); null for other layers. */
  gain(path: string, layer: () => FrozenLayer): Tensor | null
  /** Full fine-tuning: what stands in a base tensor's place while it is differentiated. */
  weights?: ReadonlyMap<Tensor, Tensor>
  /** Set while training with dropout: the probability and a fresh key for each call. */
  dropout?: { probability: number; nextKey: () => Tensor }
}

/** The base tensor, or what stands in its place. */
export function current(view: AdapterView | null, tensor: Tensor): Tensor {
  return view?.weights?.get(tensor) ?? tensor
}
