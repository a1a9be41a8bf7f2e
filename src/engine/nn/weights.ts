/** Where a model's weights come from: a Map, or anything that makes a tensor when asked (a file reader). */
import { ShadowError } from '../../lib/error.ts'
import { FrozenMatrix, type Packing } from '../tensor/frozen-matrix.ts'
import { concatenate } from '../tensor/ops.ts'
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
  /** Makes the packed rows, (rows, words) uint32, as native/frozen-matrix.h lays rows out. */
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

/** A matrix as a source gives it. */
export interface MatrixRows {
  /** Dense, (rows, columns) float32, or packed rows. */
  rows: Tensor
  packing: Packing | null
}

/**
 * Packed where the source keeps it so, else float32.
 * @throws ShadowError `invalid_file` when the tensor is missing or has another shape.
 */
export function takeRows(
  runtime: Runtime,
  source: WeightSource,
  name: string,
  shape: readonly number[],
): MatrixRows {
  const packed = source.packed?.(name)
  if (packed === undefined)
    return { rows: runtime.fromFloat32(takeWeight(source, name, shape), shape), packing: null }
  checkShape(name, packed.shape, shape)
  return { rows: packed.upload(runtime), packing: packed.packing }
}

/** Parts that are packed alike, one below the other, as one matrix for good. The parts are disposed of. */
export function freeze(runtime: Runtime, parts: readonly MatrixRows[]): FrozenMatrix {
  const [first, ...rest] = parts
  if (first === undefined) throw new RangeError('A matrix has at least one part.')
  const stacked =
    rest.length === 0 ? first.rows : concatenate([first.rows, ...rest.map(({ rows }) => rows)], 0)
  const matrix = FrozenMatrix.ofRows(stacked, first.packing)
  runtime.keep(matrix.tensor)
  runtime.evaluate([matrix.tensor])
  for (const made of new Set([stacked, ...parts.map(({ rows }) => rows)]))
    if (made !== matrix.tensor) made.dispose()
  return matrix
}

/** One matrix of the source for good. @throws as {@link takeRows} */
export function takeMatrix(
  runtime: Runtime,
  source: WeightSource,
  name: string,
  shape: readonly number[],
): FrozenMatrix {
  return freeze(runtime, [takeRows(runtime, source, name, shape)])
}
