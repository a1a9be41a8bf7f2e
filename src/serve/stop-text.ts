/** Cuts a growing text at the first stop sequence, and holds back what might become one. */
export class StopText {
  readonly #stops: readonly string[]
  #held = ''
  #ended = false

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== '')
  }

  /** Whether a stop sequence has come. */
  get ended(): boolean {
    return this.#ended
  }

  /** @returns the part of the text so far that may be given out */
  push(text: string): string {
    if (this.#ended) return ''
    this.#held += text
    const found = this.#stops.map((stop) => this.#held.indexOf(stop)).filter((at) => at >= 0)
    if (found.length > 0) {
      this.#ended = true
      return this.#take(Math.min(...found))
    }
    return this.#take(this.#held.length - this.#longestPrefixAtEnd())
  }

  /** What was held back and did not become a stop sequence. */
  flush(): string {
    return this.#ended ? '' : this.#take(this.#held.length)
  }

  #take(length: number): string {
    const given = this.#held.slice(0, length)
    this.#held = this.#held.slice(length)
    return given
  }

  #longestPrefixAtEnd(): number {
    let longest = 0
    for (const stop of this.#stops) {
      const most = Math.min(stop.length - 1, this.#held.length)
      for (let length = most; length > longest; length--) {
        if (this.#held.endsWith(stop.slice(0, length))) longest = length
      }
    }
    return longest
  }
}
