/** The base model's own tensors, as full fine-tuning sees them. */
import type { Packing } from '../native/addon.ts'
import type { Tensor } from '../tensor/tensor.ts'

/** One tensor in memory, and the tensors of the model's files that lie in it, one behind the other along the first axis. */
export interface BaseTensor {
  readonly tensor: Tensor
  /** Null: float32, dense, fit to be trained. */
  readonly packing: Packing | null
  /** Under Hugging Face's names. */
  readonly parts: readonly { name: string; shape: readonly number[] }[]
}
