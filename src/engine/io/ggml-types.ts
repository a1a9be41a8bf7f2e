/**
 * The tensor encodings of GGUF files, as ggml defines them: a type id, how many elements share a block,
 * how many bytes a block takes, and for those we read, how a block becomes float32.
 */
import { half } from './half.ts'
import { decodeQ4_K, decodeQ5_K, decodeQ6_K } from './k-quants.ts'

export interface GgmlType {
  readonly name: string
  readonly blockElements: number
  readonly blockBytes: number
  /**
   * Decodes whole blocks, little-endian, to float32 exactly as ggml does (products of a half-precision
   * scale and a small integer are exact in float32, so one rounding remains). Absent: not read yet.
   */
  readonly decode?: (source: Uint8Array<ArrayBuffer>) => Float32Array<ArrayBuffer>
}

/** By the id that stands in the file. */
export const ggmlTypes: ReadonlyMap<number, GgmlType> = new Map<number, GgmlType>([
  [0, { name: 'F32', blockElements: 1, blockBytes: 4, decode: decodeF32 }],
  [1, { name: 'F16', blockElements: 1, blockBytes: 2, decode: decodeF16 }],
  [2, { name: 'Q4_0', blockElements: 32, blockBytes: 18, decode: decodeQ4_0 }],
  [3, { name: 'Q4_1', blockElements: 32, blockBytes: 20, decode: decodeQ4_1 }],
  [6, { name: 'Q5_0', blockElements: 32, blockBytes: 22 }],
  [7, { name: 'Q5_1', blockElements: 32, blockBytes: 24 }],
  [8, { name: 'Q8_0', blockElements: 32, blockBytes: 34, decode: decodeQ8_0 }],
  [10, { name: 'Q2_K', blockElements: 256, blockBytes: 84 }],
  [11, { name: 'Q3_K', blockElements: 256, blockBytes: 110 }],
  [12, { name: 'Q4_K', blockElements: 256, blockBytes: 144, decode: decodeQ4_K }],
  [13, { name: 'Q5_K', blockElements: 256, blockBytes: 176, decode: decodeQ5_K }],
  [14, { name: 'Q6_K', blockElements: 256, blockBytes: 210, decode: decodeQ6_K }],
  [15, { name: 'Q8_K', blockElements: 256, blockBytes: 292 }],
  [30, { name: 'BF16', blockElements: 1, blockBytes: 2, decode: decodeBF16 }],
])

/** The names of the types that can be decoded, for messages. */
export const readableTypes: string = [...ggmlTypes.values()]
  .filter((type) => type.decode !== undefined)
  .map((type) => type.name)
  .join(', ')

/** @param source little-endian float32, any alignment */
export function decodeF32(source: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  const bytes = source.byteOffset % 4 === 0 ? source : source.slice()
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
}

/** @param source little-endian half precision */
export function decodeF16(source: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  const out = new Float32Array(source.length / 2)
  for (let i = 0; i < out.length; i++) out[i] = half(source, 2 * i)
  return out
}

/** @param source little-endian bfloat16: the upper half of a float32 */
export function decodeBF16(source: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  const bits = new Uint32Array(source.length / 2)
  for (let i = 0; i < bits.length; i++) bits[i] = ((source[2 * i]! << 16) | (source[2 * i + 1]! << 24)) >>> 0
  return new Float32Array(bits.buffer)
}

/** Block: scale d (half), 16 bytes of which byte j holds elements j (low) and j+16 (high); w = d·(q−8). */
function decodeQ4_0(source: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  const blocks = source.length / 18
  const out = new Float32Array(blocks * 32)
  for (let block = 0; block < blocks; block++) {
    const from = block * 18
    const to = block * 32
    const d = half(source, from)
    for (let j = 0; j < 16; j++) {
      const byte = source[from + 2 + j]!
      out[to + j] = d * ((byte & 15) - 8)
      out[to + 16 + j] = d * ((byte >> 4) - 8)
    }
  }
  return out
}

/** Block: scale d and minimum m (half), then 16 bytes as in Q4_0; w = d·q + m. */
function decodeQ4_1(source: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  const blocks = source.length / 20
  const out = new Float32Array(blocks * 32)
  for (let block = 0; block < blocks; block++) {
    const from = block * 20
    const to = block * 32
    const d = half(source, from)
    const m = half(source, from + 2)
    for (let j = 0; j < 16; j++) {
      const byte = source[from + 4 + j]!
      out[to + j] = d * (byte & 15) + m
      out[to + 16 + j] = d * (byte >> 4) + m
    }
  }
  return out
}

/** Block: scale d (half), 32 signed bytes; w = d·q. */
function decodeQ8_0(source: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  const blocks = source.length / 34
  const out = new Float32Array(blocks * 32)
  const signed = new Int8Array(source.buffer, source.byteOffset, source.byteLength)
  for (let block = 0; block < blocks; block++) {
    const from = block * 34 + 2
    const to = block * 32
    const d = half(source, from - 2)
    for (let j = 0; j < 32; j++) out[to + j] = d * signed[from + j]!
  }
  return out
}
