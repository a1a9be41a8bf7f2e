/** A judge's scores for a group. Immutable, addressed by the hash of what it was made from. */
import { z } from 'zod'
import { usage } from './call.ts'

export const verdict = z.object({
  /** Keyed hash of group content, rubric, judge and repeat. */
  id: z.string(),
  task: z.string(),
  promptNode: z.string(),
  /** Judge model, or `reference:<scorer>`. */
  judge: z.string(),
  rubricHash: z.string(),
  kind: z.enum(['listwise', 'pointwise', 'reference']),
  /** Score in [0, 1] by reply node. */
  scores: z.record(z.string(), z.number().min(0).max(1)),
  /** Reply nodes in the order in which the judge saw them. */
  orderShown: z.array(z.string()),
  rawReply: z.string().nullable(),
  usage: usage.nullable(),
  /** Wall time of the call in milliseconds. */
  tookMs: z.number().nonnegative(),
})
export type Verdict = z.infer<typeof verdict>
