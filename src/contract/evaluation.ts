/** What each contender answered on sessions that training never saw, and what the gate made of it. */
import { z } from 'zod'

/** A mean with a two-sided interval, clustered by session. */
export const estimate = z.object({ mean: z.number(), low: z.number(), high: z.number() })
export type Estimate = z.infer<typeof estimate>

export const contender = z.enum(['base', 'nearest', 'frontier', 'owned'])
export type Contender = z.infer<typeof contender>

export const evaluatedRow = z.object({
  promptNode: z.string(),
  session: z.string(),
  /** The request's last user message, for people. */
  input: z.string(),
  reference: z.string(),
  answers: z.record(contender, z.string()),
  scores: z.record(contender, z.number().min(0).max(1)),
})
export type EvaluatedRow = z.infer<typeof evaluatedRow>

export const evaluation = z.object({
  scorer: z.string(),
  referenceFrom: z.record(z.string(), z.number()),
  calls: z.number().int(),
  sessions: z.number().int(),
  confidence: z.number(),
  scores: z.record(contender, estimate),
  /** owned − frontier, clustered by session. */
  difference: estimate,
})
export type Evaluation = z.infer<typeof evaluation>

export const gateDecision = z.object({
  promote: z.boolean(),
  /** One sentence for a person. */
  sentence: z.string(),
  /** What was known and what was asked for. */
  evidence: z.object({
    calls: z.number().int(),
    minimumSample: z.number().int(),
    margin: z.number(),
    confidence: z.number(),
    /** One-sided lower bound of owned − frontier at `confidence`. */
    lowerBound: z.number().nullable(),
  }),
})
export type GateDecision = z.infer<typeof gateDecision>
