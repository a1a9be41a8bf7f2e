/** Matrices quantised while a model is loaded, and MLX's format as a packed matrix. */
import { ShadowError } from '../../lib/error.ts'
import type { Packing } from '../tensor/frozen-matrix.ts'
import { astype } from '../tensor/ops.ts'
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { PackedWeight, WeightSource } from './weights.ts'

/** MLX's affine quantisation of one matrix. */
export interface AffineMatrix {
  /** (rows, columns · bits / 32) uint32: the codes, lowest bits first. */
  codes: Tensor
  /** (rows, columns / groupSize), float32, float16 or bfloat16. */
  scales: Tensor
  /** As `scales`. */
  biases: Tensor
}

/** Quantises as `mx.quantize` does: w (rows, columns) in the type that the scales shall have. */
export function quantizeAffine(
  w: Tensor,
  { bits, groupSize }: Pick<Packing, 'bits' | 'groupSize'>,
): AffineMatrix {
  const [codes, scales, biases] = w.runtime.native
    .quantize(w.handle, bits, groupSize)
    .map((handle) => w.runtime.wrap(handle))
  if (codes === undefined || scales === undefined || biases === undefined)
    throw new ShadowError('engine_failed', 'Quantisation gave less than codes, scales and biases.')
  return { codes, scales, biases }
}

/** @returns (rows, words) uint32, as native/frozen-matrix.h lays a packed matrix out */
export function packAffine(
  { codes, scales, biases }: AffineMatrix,
  { bits, groupSize }: Pick<Packing, 'bits' | 'groupSize'>,
): Tensor {
  const { runtime } = codes
  return runtime.wrap(runtime.native.packAffine(codes.handle, scales.handle, biases.handle, bits, groupSize))
}

/**
 * The same weights, with every matrix quantised that is not already and whose rows divide into groups.
 * Results are those of `mx.quantize` on the matrix in the type of the scales.
 */
export function quantizing(source: WeightSource, packing: Packing): WeightSource {
  return {
    has: (name) => source.has(name),
    get: (name) => source.get(name),
    packed(name) {
      const kept = source.packed?.(name)
      if (kept !== undefined) return kept
      const weight = source.get(name)
      const columns = weight?.shape[1]
      if (weight === undefined || columns === undefined || columns % packing.groupSize !== 0) return undefined
      return quantized(weight.shape, weight.data, packing)
    },
  }
}

function quantized(shape: readonly number[], data: Float32Array, packing: Packing): PackedWeight {
  return {
    shape,
    packing,
    upload: (runtime: Runtime) =>
      runtime.tidy(() => {
        const w = runtime.fromFloat32(data, shape)
        const typed = packing.scales === 'float32' ? w : astype(w, packing.scales)
        return packAffine(quantizeAffine(typed, packing), packing)
      }),
  }
}

/** Plain bfloat16, multiplied as it is where the processor can. */
export const bfloat16: Packing = { bits: 16, groupSize: 32, scales: 'bfloat16', products: 'bfloat16' }

/**
 * The same weights for training in bfloat16: what is packed stays so, every other matrix is rounded to bfloat16, which
 * takes half of float32's memory.
 */
export function inBfloat16(source: WeightSource): WeightSource {
  return {
    has: (name) => source.has(name),
    get: (name) => source.get(name),
    packed(name) {
      const kept = source.packed?.(name)
      if (kept !== undefined) return { ...kept, packing: { ...kept.packing, products: 'bfloat16' } }
      const weight = source.get(name)
      const columns = weight?.shape[1]
      if (weight === undefined || columns === undefined || columns % 2 !== 0) return undefined
      const upload = (runtime: Runtime): Tensor =>
        runtime.tidy(() =>
          runtime.wrap(runtime.native.packBfloat16(runtime.fromFloat32(weight.data, weight.shape).handle)),
        )
      return { shape: weight.shape, packing: bfloat16, upload }
    },
  }
}
