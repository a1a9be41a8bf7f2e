/** The cache's slots: which tokens each holds, and which prefix of them a new sequence may take over. */
import type { CausalLM } from '../models/causal-lm.ts'
import type { CacheHandle } from '../native/addon.ts'

interface Slot {
  readonly index: number
  /** The tokens whose keys and values are in the cache, from position 0. */
  tokens: number[]
  /** Keys and values depend on the adapter too. */
  adapter: string | null
  busy: boolean
  /** When it was last released; the longest unused is taken first. */
  releasedAt: number
}

/** A slot handed to one sequence until it is released. */
export interface Lease {
  readonly slot: number
  /** Leading tokens of the prompt that need no computing. */
  readonly reused: number
}

function commonPrefix(a: readonly number[], b: readonly number[]): number {
  let length = 0
  while (length < a.length && length < b.length && a[length] === b[length]) length++
  return length
}

export class SlotTable {
  readonly cache: CacheHandle
  readonly #model: CausalLM
  readonly #slots: Slot[]
  #releases = 0

  constructor(model: CausalLM, count: number, positions: number) {
    this.#model = model
    this.cache = model.createCache(count, positions)
    this.#slots = Array.from({ length: count }, (_, index) => ({
      index,
      tokens: [],
      adapter: null,
      busy: false,
      releasedAt: 0,
    }))
  }

  /** Bytes copied for a prefix are far cheaper than computing it; at least one token is always left to compute. */
  lease(prompt: readonly number[], adapter: string | null): Lease | null {
    const free = this.#slots.filter((slot) => !slot.busy)
    const sharing = (slot: Slot): number =>
      slot.adapter === adapter ? Math.min(commonPrefix(slot.tokens, prompt), prompt.length - 1) : 0
    const oldest = free.reduce<Slot | null>(
      (best, slot) => (best === null || slot.releasedAt < best.releasedAt ? slot : best),
      null,
    )
    if (oldest === null) return null
    let source = oldest
    for (const slot of this.#slots) if (sharing(slot) > sharing(source)) source = slot
    const reused = sharing(source)
    // A free slot that holds nothing but the shared prefix and little more is continued where it is.
    const target = !source.busy && reused > 0 && source.tokens.length - reused <= reused ? source : oldest
    if (target !== source && reused > 0)
      this.#model.runtime.native.kvCacheCopyPrefix(this.cache, source.index, target.index, reused)
    target.tokens = prompt.slice(0, reused)
    target.adapter = adapter
    target.busy = true
    return { slot: target.index, reused }
  }

  /** Says that these tokens' keys and values are now in the slot. */
  append(slot: number, tokens: readonly number[]): void {
    this.#slots[slot]?.tokens.push(...tokens)
  }

  release(slot: number): void {
    const entry = this.#slots[slot]
    if (entry === undefined) return
    entry.busy = false
    entry.releasedAt = ++this.#releases
  }

  dispose(): void {
    this.#model.runtime.native.kvCacheDispose(this.cache)
  }
}
