/** A map that forgets what was not asked for lately. */

export class Lately<Value> {
  private readonly maxWeight: number
  /** Two generations: what the young one doesn't take over from the old one before it is full is forgotten. */
  private young = new Map<string, Value>()
  private old = new Map<string, Value>()
  private weight = 0
  private readonly weightOf: (value: Value) => number

  /** @param maxWeight of all values together, about */
  constructor(maxWeight: number, weightOf: (value: Value) => number = () => 1) {
    this.maxWeight = maxWeight
    this.weightOf = weightOf
  }

  get(name: string): Value | undefined {
    const known = this.young.get(name)
    if (known !== undefined) return known
    const value = this.old.get(name)
    if (value !== undefined) this.set(name, value)
    return value
  }

  /** The same, which is no reason to remember it for longer. */
  peek(name: string): Value | undefined {
    return this.young.get(name) ?? this.old.get(name)
  }

  set(name: string, value: Value): void {
    this.young.set(name, value)
    this.weight += this.weightOf(value)
    if (this.weight < this.maxWeight / 2) return
    this.old = this.young
    this.young = new Map()
    this.weight = 0
  }

  clear(): void {
    this.young.clear()
    this.old.clear()
    this.weight = 0
  }
}
