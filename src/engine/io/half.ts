/** Half precision, read by table. */

/** float32 value of every half-precision bit pattern. */
const halfValues = makeHalfValues()

function makeHalfValues(): Float32Array {
  const values = new Float32Array(65536)
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1
    const exponent = (bits >> 10) & 31
    const fraction = bits & 1023
    if (exponent === 31) values[bits] = fraction === 0 ? sign * Infinity : NaN
    else if (exponent === 0) values[bits] = sign * fraction * 2 ** -24
    else values[bits] = sign * (1024 + fraction) * 2 ** (exponent - 25)
  }
  return values
}

/** The little-endian half-precision number at `at`. */
export function half(bytes: Uint8Array, at: number): number {
  return halfValues[bytes[at]! | (bytes[at + 1]! << 8)]!
}
