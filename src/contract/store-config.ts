/** What is decided about a home's store. */
import { z } from 'zod'
import { redaction } from './redaction.ts'

/** How long a task's calls are kept. */
export const taskRetention = z.strictObject({
  /** Days; null takes the store's own, `keep` is for ever. */
  maxAgeDays: z
    .union([z.number().positive(), z.literal('keep')])
    .nullable()
    .default(null),
  /** Calls beyond which the oldest go; null for any number. */
  maxCalls: z.number().int().positive().nullable().default(null),
})
export type TaskRetention = z.infer<typeof taskRetention>

export const storeRetention = z.strictObject({
  /** Days that calls are kept, where their task says nothing else; null is for ever. */
  maxAgeDays: z.number().positive().nullable().default(null),
  /** Bytes of capture.db beyond which the oldest calls go, of whatever task; null for any size. */
  maxBytes: z
    .number()
    .int()
    .min(2 ** 20)
    .nullable()
    .default(null),
})

export const storeConfig = z.strictObject({
  /** `full` makes every record survive the loss of power; takes effect when the server starts. */
  synchronous: z.enum(['normal', 'full']).default('normal'),
  retention: storeRetention.prefault({}),
  /** What is taken out of every task's calls before they are written. */
  redaction: redaction.prefault({}),
})
export type StoreConfig = z.infer<typeof storeConfig>

/** What is too old or too much, for the store to find. */
export const retentionRules = z.object({
  /** Calls of tasks without a rule of their own go when they arrived before; milliseconds since the epoch. */
  before: z.number().nullable(),
  maxBytes: z.number().nullable(),
  tasks: z.record(z.string(), z.object({ before: z.number().nullable(), maxCalls: z.number().nullable() })),
})
export type RetentionRules = z.infer<typeof retentionRules>
