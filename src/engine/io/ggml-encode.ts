/** float32 as the files' smaller types, each rounded as its reference implementation rounds. */

const float = new Float32Array(1)
const bits = new Uint32Array(float.buffer)

/** The half-precision bit pattern nearest to a float32, ties to even, as IEEE 754 and numpy round. */
export function halfBits(value: number): number {
  float[0] = value
  const x = bits[0] ?? 0
  const sign = (x >>> 16) & 0x8000
  const magnitude = x & 0x7fffffff
  if (magnitude >= 0x47800000) return sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00)
  if (magnitude < 0x38800000) {
    // Below 2^-14 halves are multiples of 2^-24: the sum leaves that multiple in the low bits, rounded.
    float[0] = Math.abs(value) + 0.5
    return sign | ((bits[0] ?? 0) - 0x3f000000)
  }
  const rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1)
  return sign | ((rounded - 0x38000000) >>> 13)
}

/** @returns little-endian half precision; values beyond 65504 become infinite */
export function encodeF16(values: Float32Array): Uint8Array<ArrayBuffer> {
  const out = new Uint16Array(values.length)
  for (let i = 0; i < values.length; i++) out[i] = halfBits(values[i] ?? 0)
  return new Uint8Array(out.buffer)
}

/** @returns little-endian bfloat16, ties to even */
export function encodeBF16(values: Float32Array): Uint8Array<ArrayBuffer> {
  const source = new Uint32Array(values.slice().buffer)
  const out = new Uint16Array(values.length)
  for (let i = 0; i < out.length; i++) {
    const x = source[i] ?? 0
    const isNaN = (x & 0x7fffffff) > 0x7f800000
    out[i] = isNaN ? (x >>> 16) | 64 : (x + 0x7fff + ((x >>> 16) & 1)) >>> 16
  }
  return new Uint8Array(out.buffer)
}

/** @returns the same bytes */
export function encodeF32(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
}

/**
 * Blocks of 32: scale d = max|w|/127 as half, then round(w/d) as signed bytes, halves away from zero; ggml's
 * reference quantisation (`quantize_row_q8_0_ref`), every step in float32.
 * @param values a multiple of 32 of them
 */
export function encodeQ8_0(values: Float32Array): Uint8Array<ArrayBuffer> {
  const blocks = values.length / 32
  const out = new Uint8Array(blocks * 34)
  for (let block = 0; block < blocks; block++) {
    let most = 0
    for (let j = 0; j < 32; j++) most = Math.max(most, Math.abs(values[block * 32 + j] ?? 0))
    const d = Math.fround(most / 127)
    const inverse = d === 0 ? 0 : Math.fround(1 / d)
    const scale = halfBits(d)
    out[block * 34] = scale & 255
    out[block * 34 + 1] = scale >>> 8
    for (let j = 0; j < 32; j++) {
      const scaled = Math.fround((values[block * 32 + j] ?? 0) * inverse)
      out[block * 34 + 2 + j] = scaled < 0 ? -Math.floor(0.5 - scaled) : Math.floor(scaled + 0.5)
    }
  }
  return out
}
