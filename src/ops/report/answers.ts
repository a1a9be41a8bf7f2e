/** Which held-out answers a reader sees, and in what order: what went wrong comes first. */
import type { EvaluatedRow } from '../../contract/index.ts'

export interface AnswerSection {
  title: string
  /** The first of them, at most as many as were asked for. */
  rows: EvaluatedRow[]
  /** All of them. */
  total: number
}

/** Every row is in exactly one section; within one, the lowest owned scores come first. */
export function answerSections(
  rows: readonly EvaluatedRow[],
  limits: { failures: number; others: number },
): AnswerSection[] {
  const worst = rows.toSorted((left, right) => left.scores.owned - right.scores.owned)
  const lost = worst.filter(({ scores }) => scores.owned < 1 && scores.owned < scores.frontier)
  const failed = worst.filter(({ scores }) => scores.owned < 1 && scores.owned >= scores.frontier)
  const won = worst.filter(({ scores }) => scores.owned === 1 && scores.frontier < 1)
  const agreed = worst.filter(({ scores }) => scores.owned === 1 && scores.frontier === 1)
  const section = (title: string, all: EvaluatedRow[], limit: number): AnswerSection => ({
    title,
    rows: all.slice(0, limit),
    total: all.length,
  })
  return [
    section('The owned model does worse than the frontier', lost, limits.failures),
    section('The owned model is wrong, and the frontier no better', failed, limits.failures),
    section('The owned model is right where the frontier is wrong', won, limits.others),
    section('Both are right', agreed, limits.others),
  ].filter(({ total }) => total > 0)
}
