/** What a checkpoint belongs to: base model, rows, config; and how two of them differ. */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import type { TrainingRow } from '../src/contract/dataset.ts'
import type { TrainConfig } from '../src/contract/train-config.ts'
import { canonicalJson } from '../src/lib/canonical-json.ts'

export const fingerprint = z.object({
  /** SHA-256 of the base model's files, hex. */
  base: z.string(),
  /** SHA-256 of the rows, hex. */
  data: z.string(),
  /** The same of evaluation rows that were given for themselves. */
  evalData: z.string().nullable(),
  config: z.record(z.string(), z.unknown()),
})
export type Fingerprint = z.infer<typeof fingerprint>

/** Settings that change no result beyond rounding: a training may go on with others. */
const free: ReadonlySet<string> = new Set<keyof TrainConfig>([
  'gradient_checkpointing',
  'logging_steps',
  'max_tokens_per_pass',
  'report_to',
  'resume_from_checkpoint',
  'save_steps',
  'save_total_limit',
])

/** SHA-256 over rows, hex. */
export function hashRows(rows: readonly TrainingRow[]): string {
  const hash = createHash('sha256')
  for (const row of rows) hash.update(`${canonicalJson(row)}\n`)
  return hash.digest('hex')
}

/** What differs, old → new, one sentence part each; empty where a training may go on. */
export function differences(old: Fingerprint, now: Fingerprint): string[] {
  const short = (hash: string | null): string => hash?.slice(0, 12) ?? 'none'
  const hashes = (['base', 'data', 'evalData'] as const).flatMap((part) =>
    old[part] === now[part]
      ? []
      : [`${part === 'evalData' ? 'evaluation data' : part} ${short(old[part])} → ${short(now[part])}`],
  )
  const names = new Set(
    [...Object.keys(old.config), ...Object.keys(now.config)].filter((name) => !free.has(name)),
  )
  const settings = [...names].toSorted().flatMap((name) => {
    const [before, after] = [old.config[name], now.config[name]].map(
      (value) => JSON.stringify(value) ?? 'unset',
    )
    return before === after ? [] : [`${name} ${before} → ${after}`]
  })
  return [...hashes, ...settings]
}
