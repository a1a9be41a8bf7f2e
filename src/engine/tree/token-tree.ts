/**
 * How rows of token ids are laid out for one forward pass: as a tree, in which a prefix that rows share is computed
 * once (Tree Training, arXiv 2511.00413, describes the idea), or packed, each row on its own.
 */
import { type PackedTokens, pack } from '../models/causal-lm.ts'
import { commonPrefix, prefixOrder } from './prefix-order.ts'

/** `tree`: what rows share is computed once; `packed`: each row on its own, end to end. */
export type LayoutName = 'tree' | 'packed'

/** Rows laid out, and where each of their tokens went. */
export interface RowLayout {
  /** What `CausalLM.hidden` takes. */
  tokens: PackedTokens
  /** places[row][t]: the index in `tokens.ids` of the row's token t. Its logits come from places[row][t − 1]. */
  places: readonly Int32Array[]
}

export function layOut(rows: readonly Int32Array[], layout: LayoutName): RowLayout {
  return layout === 'tree' ? buildTree(rows) : packRows(rows)
}

function packRows(rows: readonly Int32Array[]): RowLayout {
  const tokens = pack(rows)
  const places = rows.map((ids, row) => {
    const start = tokens.segments[row] ?? 0
    return Int32Array.from(ids, (_, t) => start + t)
  })
  return { tokens, places }
}

/**
 * The trie of the rows, flattened depth-first. Ids between two branchings form one run; a token's position is its
 * depth. The tokens do not depend on the order of the rows.
 */
export function buildTree(rows: readonly Int32Array[]): RowLayout {
  const total = rows.reduce((sum, ids) => sum + ids.length, 0)
  const ids = new Int32Array(total)
  const positions = new Int32Array(total)
  const starts: number[] = []
  const parents: number[] = []
  const places = rows.map((row) => new Int32Array(row.length))
  const order = prefixOrder(rows)
  const idsAt = (at: number): Int32Array => rows[order[at] ?? 0] ?? new Int32Array()
  let size = 0

  /** Lays out rows [first, last) of the order, which share `depth` ids that end with run `parent`. */
  const grow = (first: number, last: number, depth: number, parent: number): void => {
    const shared = last - first === 1 ? idsAt(first).length : commonPrefix(idsAt(first), idsAt(last - 1))
    let run = parent
    if (shared > depth) {
      run = parents.push(parent) - 1
      starts.push(size)
      for (let t = depth; t < shared; t++) {
        ids[size + t - depth] = idsAt(first)[t] ?? 0
        positions[size + t - depth] = t
        for (let at = first; at < last; at++) {
          const row = places[order[at] ?? 0]
          if (row !== undefined) row[t] = size + t - depth
        }
      }
      size += shared - depth
    }
    let at = first
    while (at < last && idsAt(at).length === shared) at++
    while (at < last) {
      const branch = at
      while (at < last && idsAt(at)[shared] === idsAt(branch)[shared]) at++
      grow(branch, at, shared, run)
    }
  }
  if (rows.length > 0) grow(0, rows.length, 0, -1)
  const tokens = {
    ids: ids.slice(0, size),
    positions: positions.slice(0, size),
    segments: Int32Array.from([...starts, size]),
    parents: Int32Array.from(parents),
  }
  return { tokens, places }
}
