/**
 * ggml's K-quants: blocks of 256 with a half-precision scale of the block and small integer scales of its groups.
 * The products fit float32 but for one rounding, so these are ggml's values to the last bit.
 */
import { half } from './half.ts'

/** The 6-bit scale and minimum of group j of 8, packed in 12 bytes from `at`. */
function scaleAndMinimum(bytes: Uint8Array, at: number, j: number): [scale: number, minimum: number] {
  if (j < 4) return [bytes[at + j]! & 63, bytes[at + j + 4]! & 63]
  const low = bytes[at + j + 4]!
  return [(low & 15) | ((bytes[at + j - 4]! >> 6) << 4), (low >> 4) | ((bytes[at + j]! >> 6) << 4)]
}

/** Block: d, dmin (half), 12 bytes of scales, [32 bytes of fifth bits,] 128 bytes of nibbles; w = d·s·q − dmin·m. */
function decodeWithMinimum(source: Uint8Array<ArrayBuffer>, fifthBits: boolean): Float32Array<ArrayBuffer> {
  const blockBytes = fifthBits ? 176 : 144
  const out = new Float32Array((source.length / blockBytes) * 256)
  for (let block = 0; block * blockBytes < source.length; block++) {
    const from = block * blockBytes
    const d = half(source, from)
    const dmin = half(source, from + 2)
    const high = from + 16
    const nibbles = fifthBits ? high + 32 : high
    for (let group = 0; group < 8; group++) {
      const [scale, minimum] = scaleAndMinimum(source, from + 4, group)
      const shift = (group & 1) * 4
      const to = block * 256 + group * 32
      for (let l = 0; l < 32; l++) {
        const q = (source[nibbles + (group >> 1) * 32 + l]! >> shift) & 15
        const fifth = fifthBits ? ((source[high + l]! >> group) & 1) << 4 : 0
        out[to + l] = d * scale * (q | fifth) - dmin * minimum
      }
    }
  }
  return out
}

export function decodeQ4_K(source: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  return decodeWithMinimum(source, false)
}

export function decodeQ5_K(source: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  return decodeWithMinimum(source, true)
}

/** Block: 128 bytes of low nibbles, 64 of high bit pairs, 16 signed scales, d (half); w = d·s·(q − 32). */
export function decodeQ6_K(source: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  const blockBytes = 210
  const out = new Float32Array((source.length / blockBytes) * 256)
  const signed = new Int8Array(source.buffer, source.byteOffset, source.byteLength)
  for (let block = 0; block * blockBytes < source.length; block++) {
    const from = block * blockBytes
    const d = half(source, from + 208)
    for (let i = 0; i < 256; i++) {
      const [part, quarter, l] = [i >> 7, (i >> 5) & 3, i & 31]
      const low = (source[from + part * 64 + (quarter & 1) * 32 + l]! >> ((quarter >> 1) * 4)) & 15
      const high = (source[from + 128 + part * 32 + l]! >> (quarter * 2)) & 3
      out[block * 256 + i] = d * signed[from + 192 + (i >> 4)]! * ((low | (high << 4)) - 32)
    }
  }
  return out
}
