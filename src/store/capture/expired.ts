/** Finds the calls that retention rules let go of, oldest first. */
import type SqliteDatabase from 'better-sqlite3'
import type { RetentionRules } from '../../contract/index.ts'

/** Rows of the oldest calls, at most `limit`. Calls are looked at in the order of their ids, which is that of arrival. */
export function expiredCalls(
  sqlite: SqliteDatabase.Database,
  rules: RetentionRules,
  limit: number,
): Set<number> {
  const expired = new Set<number>()
  const add = (rows: readonly { seq: number }[]): void => {
    for (const { seq } of rows) if (expired.size < limit) expired.add(seq)
  }
  const oldest = sqlite.prepare<[string, number], { seq: number; at: number }>(
    'SELECT seq, started_at AS at FROM calls WHERE task = ? ORDER BY id LIMIT ?',
  )
  const count = sqlite.prepare<[string], { n: number }>('SELECT count(*) AS n FROM calls WHERE task = ?')
  const tasks = sqlite.prepare<[], { task: string }>('SELECT DISTINCT task FROM scopes').all()
  for (const { task } of tasks) {
    const rule = rules.tasks[task]
    const before = rule === undefined ? rules.before : rule.before
    if (before !== null) add(oldest.all(task, limit).filter(({ at }) => at < before))
    const maxCalls = rule?.maxCalls ?? null
    if (maxCalls === null) continue
    const surplus = (count.get(task)?.n ?? 0) - maxCalls
    if (surplus > 0) add(oldest.all(task, Math.min(surplus, limit)))
  }
  if (rules.maxBytes !== null) add(beyondSize(sqlite, rules.maxBytes, limit))
  return expired
}

/** As many of the oldest calls as are likely to bring the file down to its size; the next round looks again. */
function beyondSize(sqlite: SqliteDatabase.Database, maxBytes: number, limit: number): { seq: number }[] {
  const pragma = (name: string) => Number(sqlite.pragma(name, { simple: true }))
  const used = (pragma('page_count') - pragma('freelist_count')) * pragma('page_size')
  if (used <= maxBytes) return []
  const calls = sqlite.prepare<[], { n: number }>('SELECT count(*) AS n FROM calls').get()?.n ?? 0
  const surplus = Math.max(1, Math.ceil(calls * (1 - maxBytes / used)))
  return sqlite
    .prepare<[number], { seq: number }>('SELECT seq FROM calls ORDER BY id LIMIT ?')
    .all(Math.min(surplus, limit))
}
