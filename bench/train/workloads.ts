/** What every contender of the training benchmark computes: fixed ids, all contenders the same. */

/** One sequence; `context` leading tokens carry no loss. */
export interface BenchRow {
  ids: number[]
  context: number
}

export interface Workload {
  name: '8x128' | '2x512' | 'prefix'
  what: string
  rows: BenchRow[]
}

const vocabulary = 49_152

function ids(row: number, length: number): number[] {
  return Array.from({ length }, (_, t) => (row * 7919 + t * 104_729 + 13) % vocabulary)
}

/** Every token but the first of a row carries loss: nothing predicts that one. */
export function wholeRows(count: number, length: number): BenchRow[] {
  return Array.from({ length: count }, (_, row) => ({ ids: ids(row, length), context: 1 }))
}

function sharedPrefix(count: number, prefix: number, own: number): BenchRow[] {
  const shared = ids(0, prefix)
  return Array.from({ length: count }, (_, row) => ({
    ids: [...shared, ...ids(row + 1, own)],
    context: prefix,
  }))
}

export const workloads: readonly [Workload, ...Workload[]] = [
  { name: '8x128', what: '8 rows of 128 tokens', rows: wholeRows(8, 128) },
  { name: '2x512', what: '2 rows of 512 tokens', rows: wholeRows(2, 512) },
  {
    name: 'prefix',
    what: '16 rows that share 900 tokens, with 30 tokens of their own that carry the loss',
    rows: sharedPrefix(16, 900, 30),
  },
]

/** Tokens of all rows, none of them padding. */
export function tokensOf({ rows }: Workload): number {
  return rows.reduce((total, row) => total + row.ids.length, 0)
}

/** The same as the contenders read it: -100 carries no loss. */
export function labelled(rows: readonly BenchRow[]): { ids: number[]; labels: number[] }[] {
  return rows.map(({ ids, context }) => ({ ids, labels: ids.map((id, t) => (t < context ? -100 : id)) }))
}
