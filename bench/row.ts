import { z } from 'zod'

/** One figure of a benchmark, as bench/results/*.json holds it. */
export const rowSchema = z.object({
  /** The text before the first dot names the benchmark. */
  id: z.string(),
  what: z.string(),
  /** Null: it could not be measured, and `what` says why. */
  value: z.number().nullable(),
  unit: z.string(),
  baseline: z.number().nullable(),
  /** value / baseline, where there is one. */
  ratio: z.number().nullable(),
  /** What is asked for, as a person reads it. */
  must: z.string().nullable(),
  aim: z.string().nullable(),
  /** Whether the figure meets `must`; true where nothing is asked for. */
  ok: z.boolean(),
  /** What measured it and when, where that was only a part of the benchmark. */
  command: z.string().optional(),
  date: z.string().optional(),
})
export type Row = z.infer<typeof rowSchema>

/** A row without a baseline. */
export function figure(
  id: string,
  what: string,
  value: number | null,
  unit: string,
  bound: { must?: string; aim?: string; ok?: boolean } = {},
): Row {
  return {
    id,
    what,
    value,
    unit,
    baseline: null,
    ratio: null,
    must: bound.must ?? null,
    aim: bound.aim ?? null,
    ok: value !== null && (bound.ok ?? true),
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}
