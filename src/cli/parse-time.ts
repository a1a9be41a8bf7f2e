import { ShadowError } from '../lib/error.ts'

const unitMs: Readonly<Record<string, number>> = { h: 3_600_000, d: 86_400_000, w: 604_800_000 }

/** `2026-11-01`, `2026-11-01T12:00:00Z` or an age like `30d`, `12h`, `2w`. @returns milliseconds since the epoch */
export function parseTime(text: string): number {
  const [, count = '', unit = ''] = /^(\d+(?:\.\d+)?)([hdw])$/.exec(text) ?? []
  const age = unitMs[unit]
  if (age !== undefined) return Date.now() - Number(count) * age
  const at = Date.parse(text)
  if (!Number.isNaN(at)) return at
  throw new ShadowError('invalid_config', `"${text}" is no time.`, {
    hint: 'Use a date like 2026-11-01, a time like 2026-11-01T12:00:00Z, or an age like 30d or 12h.',
  })
}
