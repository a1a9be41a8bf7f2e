/** The uniform numbers of one generation request: SplitMix64, 53 bits. Same seed, same numbers, everywhere. */

const mask = (1n << 64n) - 1n

export class UniformStream {
  #state: bigint

  /** @param seed any safe integer. */
  constructor(seed: number) {
    this.#state = BigInt.asUintN(64, BigInt(Math.trunc(seed)))
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x9e3779b97f4a7c15n) & mask
    let z = this.#state
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask
    return Number((z ^ (z >> 31n)) >> 11n) / 2 ** 53
  }
}
