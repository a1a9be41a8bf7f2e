/** An adapter worked into its base: W + scale·B·A, with DoRA's row norms where there are any. */
import { ShadowError } from '../../lib/error.ts'
import type { StoredTensor } from './stored-tensor.ts'
import type { LoraModule } from './adapter.ts'

/**
 * The weight of one merged layer, summed in float64 and rounded to float32 once.
 * @param weight (out, in)
 * @returns (out, in); with DoRA each row scaled to the length that the adapter asks for (arXiv 2402.09353,
 *   the norm over `in` as PEFT takes it)
 */
export function mergedWeight(
  weight: Float32Array<ArrayBuffer>,
  { a, b, scale, magnitude }: Omit<LoraModule, 'module'>,
): Float32Array<ArrayBuffer> {
  const [rank = 0, columns = 0] = a.shape
  const rows = b.shape[0] ?? 0
  const out = new Float32Array(weight.length)
  const sum = new Float64Array(columns)
  for (let row = 0; row < rows; row++) {
    sum.fill(0)
    for (let k = 0; k < rank; k++) {
      const factor = (b.data[row * rank + k] ?? 0) * scale
      const from = k * columns
      for (let i = 0; i < columns; i++) sum[i] = sum[i]! + factor * a.data[from + i]!
    }
    let squares = 0
    const at = row * columns
    for (let i = 0; i < columns; i++) {
      const value = weight[at + i]! + sum[i]!
      sum[i] = value
      squares += value * value
    }
    const stretch = magnitude === undefined ? 1 : (magnitude.data[row] ?? 0) / Math.sqrt(squares)
    for (let i = 0; i < columns; i++) out[at + i] = sum[i]! * stretch
  }
  return out
}

/**
 * The tensors of a model with an adapter merged in, each computed when it is read.
 * @throws ShadowError `invalid_file` if the adapter was made for another base
 */
export function mergedTensors(
  base: ReadonlyMap<string, StoredTensor>,
  modules: readonly LoraModule[],
): Map<string, StoredTensor> {
  const merged = new Map(base)
  for (const lora of modules) {
    const name = `${lora.module}.weight`
    const weight = base.get(name)
    const shape = [lora.b.shape[0] ?? 0, lora.a.shape[1] ?? 0]
    if (weight === undefined || weight.shape.join() !== shape.join())
      throw new ShadowError(
        'invalid_file',
        weight === undefined
          ? `The adapter changes ${lora.module}, which this base model does not have.`
          : `The adapter's ${lora.module} is ${shape.join('×')}, this base model's is ${weight.shape.join('×')}.`,
        { hint: 'Name the base model that the adapter was trained on with --base.' },
      )
    merged.set(name, {
      shape: weight.shape,
      storedAs: weight.storedAs,
      read: () => mergedWeight(weight.read(), lora),
    })
  }
  return merged
}
