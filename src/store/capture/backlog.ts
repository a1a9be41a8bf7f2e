/** Calls that are committed to the journal and not yet in the tables, in the order of their commits. */
export class Backlog {
  private readonly ids: string[] = []

  get size(): number {
    return this.ids.length
  }

  add(id: string): void {
    this.ids.push(id)
  }

  /** The tables hold everything up to this call; null says nothing. */
  takenUpTo(id: string | null): void {
    if (id !== null) this.ids.splice(0, this.ids.indexOf(id) + 1)
  }
}
