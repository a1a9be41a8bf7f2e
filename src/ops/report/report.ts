/** What a run ends in, as data: the input of both renderings and of `report.json`. */
import { z } from 'zod'
import { evaluatedRow, evaluation, gateDecision, trainMetric } from '../../contract/index.ts'

const reportStage = z.object({
  name: z.string(),
  tookMs: z.number().nonnegative(),
  /** An earlier run had made it from the same inputs. */
  reused: z.boolean(),
  /** What it found and what it cost, in the order to show: `{ calls: 812, 'unique tokens': 40210 }`. */
  facts: z.record(z.string(), z.union([z.string(), z.number()])),
})
export type ReportStage = z.infer<typeof reportStage>

export const runReport = z.object({
  task: z.string(),
  /** The version that was made, `owned/X@n`, promoted or not; null where none was. */
  version: z.string().nullable(),
  decision: gateDecision,
  evaluation,
  rows: z.array(evaluatedRow),
  metrics: z.array(trainMetric),
  stages: z.array(reportStage),
  /** What a reader must know to weigh the verdict, a sentence each. */
  notes: z.array(z.string()),
  /** Names as a person knows them. */
  models: z.object({ base: z.string(), frontier: z.string(), judge: z.string().nullable() }),
  /** Milliseconds since 1970. */
  createdAt: z.number(),
})
export type RunReport = z.infer<typeof runReport>
