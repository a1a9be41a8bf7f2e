/** Tells the demo's story on the terminal: what happens now, why, and how long it took. */

export function durationText(ms: number): string {
  const seconds = ms / 1000
  if (seconds < 100) return `${seconds.toFixed(1)} s`
  return `${Math.floor(seconds / 60)} min ${String(Math.round(seconds % 60)).padStart(2, '0')} s`
}

export class Narrator {
  #phase = 0
  readonly #phases: number
  readonly #write: (text: string) => void

  constructor(phases: number, write: (text: string) => void) {
    this.#phases = phases
    this.#write = write
  }

  /** Does `work` as the next phase; what it returns with `says` is the phase's closing line. */
  async phase<T>(title: string, work: () => Promise<{ says: string; value: T }>): Promise<T> {
    this.#phase++
    this.#write(`\n[${this.#phase}/${this.#phases}] ${title}\n`)
    const begun = performance.now()
    const { says, value } = await work()
    this.#write(`      ${says} (${durationText(performance.now() - begun)})\n`)
    return value
  }

  say(text: string): void {
    this.#write(`${text}\n`)
  }
}
