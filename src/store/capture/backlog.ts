/** Calls that are committed to the journal and not yet in the tables, in the order of their commits. */
export class Backlog {
  private readonly ids: string[] = []
  private readonly maxCalls: number
  private waiting: (() => void)[] = []
  /** How many calls the tables have taken, and who waits until they are so many. */
  private taken = 0
  private following: { upTo: number; resolve(): void }[] = []

  constructor(maxCalls: number) {
    this.maxCalls = maxCalls
  }

  get size(): number {
    return this.ids.length
  }

  get isFull(): boolean {
    return this.size >= this.maxCalls
  }

  add(id: string): void {
    this.ids.push(id)
  }

  /** The tables hold everything up to this call; null says nothing. */
  takenUpTo(id: string | null): void {
    if (id === null) return
    this.taken += this.ids.splice(0, this.ids.indexOf(id) + 1).length
    const { taken } = this
    for (const { upTo, resolve } of this.following) if (upTo <= taken) resolve()
    this.following = this.following.filter(({ upTo }) => upTo > taken)
    if (this.isFull) return
    for (const resolve of this.waiting) resolve()
    this.waiting = []
  }

  /** Resolves once the tables hold every call that is here now, whatever comes meanwhile. */
  gone(): Promise<void> {
    return new Promise((resolve) => this.following.push({ upTo: this.taken + this.size, resolve }))
  }

  /** Resolves once the tables have taken so many calls that there is room for others. */
  room(): Promise<void> {
    return new Promise((resolve) => this.waiting.push(resolve))
  }
}
