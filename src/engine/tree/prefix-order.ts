/** Rows in lexicographic order: those that share a prefix are neighbours, and no other order brings them closer. */

/** How many leading ids two sequences share. */
export function commonPrefix(a: Int32Array, b: Int32Array): number {
  const limit = Math.min(a.length, b.length)
  let length = 0
  while (length < limit && a[length] === b[length]) length++
  return length
}

/** Indices of the rows, sorted by their ids, a prefix before what goes on from it; equal rows keep their order. */
export function prefixOrder(rows: readonly Int32Array[]): number[] {
  return rows
    .map((ids, index) => ({ ids, index }))
    .toSorted((a, b) => {
      const shared = commonPrefix(a.ids, b.ids)
      if (shared === a.ids.length || shared === b.ids.length)
        return a.ids.length - b.ids.length || a.index - b.index
      return (a.ids[shared] ?? 0) - (b.ids[shared] ?? 0)
    })
    .map(({ index }) => index)
}
