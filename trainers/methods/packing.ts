import type { Example } from './method.ts'

/**
 * Puts examples together, each into the fullest one that still has room for it, longest first (best-fit decreasing, as
 * TRL's `packing_strategy="bfd"`). The result stands in the order of what came first in each.
 * @param maxLength tokens of an example; a longer one stays alone
 */
export function packExamples(examples: readonly Example[], maxLength: number): Example[] {
  const bins: { indices: number[]; room: number }[] = []
  const longestFirst = examples
    .map((rows, index) => ({ index, length: rows.reduce((sum, { ids }) => sum + ids.length, 0) }))
    .toSorted((a, b) => b.length - a.length || a.index - b.index)
  /** Bins by the room left in them: a best fit is found without looking at every bin. */
  const byRoom: (typeof bins)[] = Array.from({ length: maxLength + 1 }, () => [])
  for (const { index, length } of longestFirst) {
    let room = length
    while (room <= maxLength && byRoom[room]?.length === 0) room++
    const bin = byRoom[room]?.pop() ?? { indices: [], room: maxLength }
    if (bin.indices.length === 0) bins.push(bin)
    bin.indices.push(index)
    bin.room -= length
    byRoom[Math.max(0, bin.room)]?.push(bin)
  }
  return bins
    .map(({ indices }) => indices.toSorted((a, b) => a - b))
    .toSorted((a, b) => (a[0] ?? 0) - (b[0] ?? 0))
    .map((indices) => indices.flatMap((index) => examples[index] ?? []))
}
