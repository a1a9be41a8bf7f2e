/**
 * `count` float32 in [−scale, scale) from a 32-bit integer hash of (index, seed): the same function as
 * `pseudo_random` in tests/fixtures/scripts/smollm2.py, so that fixtures need not carry their inputs.
 */
export function pseudoRandom(count: number, seed: number, scale: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, (_, index) => {
    let x = (Math.imul(index, 2654435761) + Math.imul(seed, 2246822519) + 1) >>> 0
    for (let round = 0; round < 2; round++) x = Math.imul(x ^ (x >>> 16), 73244475) >>> 0
    x = (x ^ (x >>> 16)) >>> 0
    return ((x / 2 ** 32) * 2 - 1) * scale
  })
}
