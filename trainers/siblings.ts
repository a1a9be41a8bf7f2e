/**
 * Which rows belong into one step: those that share what a step of random rows would not share anyway. Laid out as a
 * tree, a row's siblings cost only the tokens in which they differ.
 */
import { commonPrefix, prefixOrder } from '../src/engine/index.ts'

/** How much of what two rows have, beyond what they share with many, they must share to be siblings. */
const leastShare = 0.5

/** A prefix that this many rows of a random step have in common, on average, is shared without grouping. */
const sharedByChance = 2

/**
 * Groups of at most `limit` rows: neighbours in prefix order, the closest joined first. A row without siblings is a
 * group of its own. A function of the rows alone; groups are in the order of their first row.
 *
 * What counts is the prefix beyond the one that more than `limit` rows share, enough of them that a random step holds
 * two: a system prompt, say. Grouping by the first word behind it would only make steps one-sided.
 */
export function siblingGroups(rows: readonly Int32Array[], limit: number): number[][] {
  const order = prefixOrder(rows)
  const idsAt = (at: number): Int32Array => rows[order[at] ?? 0] ?? new Int32Array()
  /** shared[b]: what the rows at places b and b + 1 share. */
  const shared = order.slice(1).map((_, at) => commonPrefix(idsAt(at), idsAt(at + 1)))
  const many = Math.max(limit + 1, Math.ceil((sharedByChance * rows.length) / limit))
  const common = sharedByMany(shared, many)
  const borders = shared
    .map((prefix, border) => {
      const base = common[border] ?? 0
      const shorter = Math.min(idsAt(border).length, idsAt(border + 1).length)
      return { border, gain: prefix - base, own: shorter - base }
    })
    .filter(({ gain, own }) => gain > 0 && gain >= leastShare * own)
    .toSorted((a, b) => b.gain - a.gain || a.border - b.border)
  const groupOf = order.map((row) => [row])
  for (const { border } of borders) {
    const [left, right] = [groupOf[border] ?? [], groupOf[border + 1] ?? []]
    if (left.length + right.length > limit) continue
    const joined = [...left, ...right]
    const first = border + 1 - left.length
    // Groups lie side by side in the order, so the joined one covers the places from its first row on.
    for (let place = first; place < first + joined.length; place++) groupOf[place] = joined
  }
  return [...new Set(groupOf)]
    .map((group) => group.toSorted((a, b) => a - b))
    .toSorted((a, b) => (a[0] ?? 0) - (b[0] ?? 0))
}

/**
 * For each border between neighbours, the longest prefix of the two that at least `count` rows have: the largest, over
 * the windows of count − 1 borders around it, of the smallest prefix inside.
 */
function sharedByMany(shared: readonly number[], count: number): number[] {
  const width = Math.max(1, Math.min(shared.length, count - 1))
  const inWindow = slidingMinimum(shared, width)
  // Border b lies in the windows that begin at b − width + 1 … b.
  const outside = Array.from({ length: width - 1 }, () => Number.POSITIVE_INFINITY)
  const negated = [...outside, ...inWindow.map((value) => -value), ...outside]
  return slidingMinimum(negated, width).map((value) => -value)
}

/** The smallest of each `width` neighbours; the result is width − 1 shorter. */
function slidingMinimum(values: readonly number[], width: number): number[] {
  const result: number[] = []
  /** Places of values that may still become a minimum, their values ascending. */
  const candidates: number[] = []
  let head = 0
  values.forEach((value, at) => {
    while (candidates.length > head && (values[candidates.at(-1) ?? 0] ?? 0) >= value) candidates.pop()
    candidates.push(at)
    if ((candidates[head] ?? 0) <= at - width) head++
    if (at >= width - 1) result.push(values[candidates[head] ?? 0] ?? 0)
  })
  return result
}
