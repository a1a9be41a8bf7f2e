/** Cuts the rows of a step into passes that fit, computing as few tokens twice as an order of prefixes allows. */
import { commonPrefix, prefixOrder } from './prefix-order.ts'

/**
 * Row indices of each pass. A pass's tree holds at most `maxTokens` tokens, except that a longer row gets a pass of
 * its own. Among all cuts of the prefix order into passes this one computes the fewest tokens, then has the fewest
 * passes: a cut between two rows costs their common prefix once more.
 */
export function partitionIntoTrees(rows: readonly Int32Array[], maxTokens: number): number[][] {
  /** Equal rows are one in every tree; a batch larger than its dataset has many. */
  const groups: number[][] = []
  for (const row of prefixOrder(rows)) {
    const group = groups.at(-1)
    const like = rows[group?.[0] ?? -1]
    const ids = rows[row] ?? new Int32Array()
    if (group !== undefined && like?.length === ids.length && commonPrefix(like, ids) === ids.length)
      group.push(row)
    else groups.push([row])
  }
  const order = groups.flatMap((group) => group[0] ?? [])
  const idsAt = (at: number): Int32Array => rows[order[at] ?? 0] ?? new Int32Array()
  /** Tokens that a row adds to a tree that holds its neighbour before it. */
  const added = order.map((_, at) =>
    at === 0 ? idsAt(0).length : idsAt(at).length - commonPrefix(idsAt(at - 1), idsAt(at)),
  )
  /** The best way to lay out the first n rows: what it costs, and where its last pass begins. */
  const best = [{ tokens: 0, passes: 0, from: 0 }]
  for (let last = 1; last <= order.length; last++) {
    let choice = { tokens: Number.POSITIVE_INFINITY, passes: 0, from: last - 1 }
    let behindFirst = 0
    for (let from = last - 1; from >= 0; from--) {
      const size = idsAt(from).length + behindFirst
      if (size > maxTokens && from < last - 1) break
      const before = best[from]
      if (before !== undefined) {
        const candidate = { tokens: before.tokens + size, passes: before.passes + 1, from }
        const better =
          candidate.tokens < choice.tokens ||
          (candidate.tokens === choice.tokens && candidate.passes < choice.passes)
        if (better) choice = candidate
      }
      behindFirst += added[from] ?? 0
    }
    best.push(choice)
  }
  const passes: number[][] = []
  for (let last = order.length; last > 0; ) {
    const from = best[last]?.from ?? 0
    passes.unshift(groups.slice(from, last).flat())
    last = from
  }
  return passes
}
