/** Where a model's weights come from: a Map, or anything that makes a tensor when asked (a file reader). */
import { ShadowError } from '../../lib/error.ts'

/** One tensor in Hugging Face layout. */
export interface Weight {
  shape: readonly number[]
  data: Float32Array
}

/** Tensors by Hugging Face name. A Map fits; a lazy reader keeps the peak memory at one tensor. */
export interface WeightSource {
  get(name: string): Weight | undefined
  has(name: string): boolean
}

/** @throws ShadowError `invalid_file` when the tensor is missing or has another shape. */
export function takeWeight(source: WeightSource, name: string, shape: readonly number[]): Float32Array {
  const weight = source.get(name)
  if (weight === undefined)
    throw new ShadowError('invalid_file', `The model has no tensor ${name}.`, {
      hint: 'Download the model again; the file is incomplete or of another family.',
    })
  if (weight.shape.length !== shape.length || weight.shape.some((size, axis) => size !== shape[axis]))
    throw new ShadowError(
      'invalid_file',
      `Tensor ${name} has shape [${weight.shape.join(', ')}], the configuration asks for [${shape.join(', ')}].`,
      { hint: 'The configuration belongs to another model.' },
    )
  return weight.data
}
