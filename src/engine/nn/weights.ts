/** Where a model's weights come from: a Map, or anything that makes a tensor when asked (a file reader). */
import { ShadowError } from '../../lib/error.ts'
import { FrozenMatrix, type Packing } from '../tensor/frozen-matrix.ts'
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'

/** One tensor in Hugging Face layout. */
export interface Weight {
  /** Outermost first. */
  shape: readonly number[]
  /** Its elements, row-major. */
  data: Float32Array
}

/** A matrix that stays quantised in memory. */
export interface PackedWeight {
  /** (rows, columns) */
  shape: readonly number[]
  packing: Packing
  /** Makes the packed tensor, (rows, words) uint32, as native/frozen-matrix.h lays it out. */
  upload(runtime: Runtime): Tensor
}

/** Tensors by Hugging Face name. A Map fits; a lazy reader keeps the peak memory at one tensor. */
export interface WeightSource {
  /** In float32; undefined where there is none of that name. */
  get(name: string): Weight | undefined
  /** Whether there is one, without reading it. */
  has(name: string): boolean
  /** The matrix in packed form, where the source has one and wants it kept so; `get` gives it in float32 all the same. */
  packed?(name: string): PackedWeight | undefined
}

function checkShape(name: string, actual: readonly number[], wanted: readonly number[]): void {
  if (actual.length === wanted.length && actual.every((size, axis) => size === wanted[axis])) return
  throw new ShadowError(
    'invalid_file',
    `Tensor ${name} has shape [${actual.join(', ')}], the configuration asks for [${wanted.join(', ')}].`,
    { hint: 'The configuration belongs to another model.' },
  )
}

/** @throws ShadowError `invalid_file` when the tensor is missing or has another shape. */
export function takeWeight(source: WeightSource, name: string, shape: readonly number[]): Float32Array {
  const weight = source.get(name)
  if (weight === undefined)
    throw new ShadowError('invalid_file', `The model has no tensor ${name}.`, {
      hint: 'Download the model again; the file is incomplete or of another family.',
    })
  checkShape(name, weight.shape, shape)
  return weight.data
}

/**
 * A matrix for good: packed where the source keeps it so, else float32.
 * @throws ShadowError `invalid_file` when the tensor is missing or has another shape.
 */
export function takeMatrix(
  runtime: Runtime,
  source: WeightSource,
  name: string,
  shape: readonly number[],
): FrozenMatrix {
  const packed = source.packed?.(name)
  if (packed === undefined)
    return new FrozenMatrix(runtime.keep(runtime.fromFloat32(takeWeight(source, name, shape), shape)))
  checkShape(name, packed.shape, shape)
  return new FrozenMatrix(runtime.keep(packed.upload(runtime)), packed.packing)
}
