/**
 * ggml's simple quantised types as packed matrices: their blocks of 32 are affine groups of 32, so codes and scales
 * are taken over as they are and no value changes.
 */
import { type Packing, packedRowBytes } from '../tensor/frozen-matrix.ts'
import { halfBits } from './ggml-encode.ts'
import { half } from './half.ts'

/** Rows of codes, scales and biases as native/frozen-matrix.h lays them out. */
export interface PackedRows {
  readonly packing: Packing
  /** (rows, words) */
  readonly words: Uint32Array<ArrayBuffer>
}

/** What a block of each type holds, besides its codes. */
const layouts: ReadonlyMap<
  string,
  { bits: 4 | 8; bytes: number; codesAt: number; zeroPoint: number | null }
> = new Map([
  ['Q4_0', { bits: 4, bytes: 18, codesAt: 2, zeroPoint: 8 }],
  ['Q4_1', { bits: 4, bytes: 20, codesAt: 4, zeroPoint: null }],
  ['Q8_0', { bits: 8, bytes: 34, codesAt: 2, zeroPoint: 128 }],
])

/** Whether blocks of this type can be kept as they are. */
export function isPackable(typeName: string): boolean {
  return layouts.has(typeName)
}

/**
 * @param source whole blocks of (rows, columns) elements
 * @returns undefined for other types, and where a scale leaves no room for its bias in half precision
 */
export function packBlocks(
  typeName: string,
  source: Uint8Array,
  rows: number,
  columns: number,
): PackedRows | undefined {
  const layout = layouts.get(typeName)
  if (layout === undefined) return undefined
  const { bits, bytes, codesAt, zeroPoint } = layout
  const packing: Packing = { bits, groupSize: 32, scales: 'float16' }
  const rowBytes = packedRowBytes(columns, packing)
  const words = new Uint32Array((rows * rowBytes) / 4)
  const out = new Uint8Array(words.buffer)
  const view = new DataView(words.buffer)
  const groups = columns / 32
  const codeBytes = bits * 4
  // Signed bytes become codes from 0 on.
  const flip = bits === 8 ? 0x80 : 0
  for (let block = 0; block < rows * groups; block++) {
    const from = block * bytes
    const group = block % groups
    const row = ((block - group) / groups) * rowBytes
    const to = row + group * codeBytes
    for (let j = 0; j < codeBytes; j++) out[to + j] = source[from + codesAt + j]! ^ flip
    const scale = source[from]! | (source[from + 1]! << 8)
    const bias =
      zeroPoint === null
        ? source[from + 2]! | (source[from + 3]! << 8)
        : halfBits(-zeroPoint * half(source, from))
    if ((scale & 0x7c00) === 0x7c00 || (bias & 0x7c00) === 0x7c00) return undefined
    const scaleAt = row + groups * codeBytes + 2 * group
    view.setUint16(scaleAt, scale, true)
    view.setUint16(scaleAt + 2 * groups, bias, true)
  }
  return { packing, words }
}
