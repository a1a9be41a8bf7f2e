import type { WeightSource } from '../nn/weights.ts'
import type { PackedRows } from './ggml-pack.ts'

/** A tensor in a file, decoded when it is asked for. */
export interface StoredTensor {
  /** Row-major, outermost first. */
  readonly shape: readonly number[]
  /** How the file stores it: `F32`, `Q4_1`, … */
  readonly storedAs: string
  /** Reads and decodes the tensor; each call reads again, so that one tensor is in memory at a time. */
  read(): Float32Array<ArrayBuffer>
  /** The elements as the file holds them, where that is a plain run of bytes. */
  bytes?(): Uint8Array<ArrayBuffer>
  /** The same values without unpacking them; absent or undefined where the file's type does not allow it. */
  readPacked?(): PackedRows | undefined
}

/** The tensors of a file as a model's weights, each decoded when the model takes it. */
export function storedWeights(tensors: ReadonlyMap<string, StoredTensor>): WeightSource {
  return {
    has: (name) => tensors.has(name),
    get(name) {
      const tensor = tensors.get(name)
      return tensor === undefined ? undefined : { shape: tensor.shape, data: tensor.read() }
    },
  }
}
