/** A weight that is never trained: float32, or packed and unpacked a tile at a time where it is used. */
import type { Packing } from '../native/addon.ts'
import { take } from './ops.ts'
import type { Tensor } from './tensor.ts'

export type { Packing } from '../native/addon.ts'

/** Whether two matrices can be stacked into one. */
export function samePacking(a: Packing | null, b: Packing | null): boolean {
  return (
    a?.bits === b?.bits &&
    a?.groupSize === b?.groupSize &&
    a?.scales === b?.scales &&
    a?.products === b?.products
  )
}

/** Bytes of a packed row: its codes, then its scales, then its biases. */
export function packedRowBytes(columns: number, { bits, groupSize, scales }: Packing): number {
  return (columns * bits) / 8 + 2 * (columns / groupSize) * (scales === 'float32' ? 4 : 2)
}

/** (rows, columns). Whoever makes it disposes of it. */
export class FrozenMatrix implements Disposable {
  /** Dense: (rows, columns) float32. Packed: (rows, words) uint32, laid out as native/frozen-matrix.h says a matrix is. */
  readonly tensor: Tensor
  /** Null for a dense matrix. */
  readonly packing: Packing | null

  constructor(tensor: Tensor, packing: Packing | null = null) {
    this.tensor = tensor
    this.packing = packing
  }

  /** @param rows dense, or packed row by row as files bring them; a packed matrix is a copy of them */
  static ofRows(rows: Tensor, packing: Packing | null): FrozenMatrix {
    const hasPanels = packing !== null && packing.bits !== 16
    return new FrozenMatrix(hasPanels ? toPanels(rows, packing) : rows, packing)
  }

  /** The rows `indices` (n) int32 as float32, (n, columns). */
  rows(indices: Tensor): Tensor {
    const { tensor, packing } = this
    if (packing === null) return take(tensor, indices)
    return tensor.runtime.wrap(tensor.runtime.native.takeRows(tensor.handle, indices.handle, packing))
  }

  /** All of it as float32, (rows, columns); the matrix's own tensor where it is dense. */
  dequantized(): Tensor {
    const { tensor, packing } = this
    if (packing === null) return tensor
    return tensor.runtime.wrap(tensor.runtime.native.unpack(tensor.handle, packing))
  }

  dispose(): void {
    this.tensor.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

function toPanels(rows: Tensor, packing: Packing): Tensor {
  return rows.runtime.wrap(rows.runtime.native.toPanels(rows.handle, packing))
}
