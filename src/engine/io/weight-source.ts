/** The tensors of a model file as the weights of a model, packed or not. */
import { quantizing } from '../nn/quantize.ts'
import type { WeightSource } from '../nn/weights.ts'
import type { Packing } from '../tensor/frozen-matrix.ts'
import { type StoredTensor, storedWeights } from './stored-tensor.ts'

/**
 * How a model's matrices lie in memory. `none`: all float32. `keep`: those that the file holds quantised in affine
 * groups stay so, with the same values; the rest is float32. A packing: those that the file holds otherwise are
 * quantised while they are loaded, as `mx.quantize` does it.
 */
export type Quantization = 'none' | 'keep' | QuantizeOnLoad

export interface QuantizeOnLoad {
  bits: 4 | 8
  /** Elements that share a scale: 32, 64 or 128. Default 64. */
  groupSize?: number
  /** The type of scales and biases, to which the weights are rounded first. Default float16. */
  scales?: Packing['scales']
}

export function weightSource(
  tensors: ReadonlyMap<string, StoredTensor>,
  quantization: Quantization,
): WeightSource {
  const dense = storedWeights(tensors)
  if (quantization === 'none') return dense
  const kept: WeightSource = {
    ...dense,
    packed(name) {
      const tensor = tensors.get(name)
      const packed = tensor?.readPacked?.()
      const [rows = 0] = tensor?.shape ?? []
      if (tensor === undefined || packed === undefined) return undefined
      return {
        shape: tensor.shape,
        packing: packed.packing,
        upload: (runtime) =>
          runtime.fromBytes(
            new Uint8Array(packed.words.buffer),
            [rows, packed.words.length / rows],
            'uint32',
          ),
      }
    },
  }
  if (quantization === 'keep') return kept
  const { bits, groupSize = 64, scales = 'float16' } = quantization
  return quantizing(kept, { bits, groupSize, scales })
}
