/** What passes between the event loop and the ingesting thread. */
import { z } from 'zod'

/** What the thread can be told to do; it reports after each. */
export const ingestOrder = z.enum(['ingest', 'checkpoint', 'stop'])
export type IngestOrder = z.infer<typeof ingestOrder>

export const ingestReport = z.object({
  /** What it took from the journal. */
  calls: z.number(),
  bytes: z.number(),
  lastId: z.string().nullable(),
  rejected: z.array(z.object({ id: z.string().nullable(), reason: z.string() })),
  error: z.string().nullable(),
})
export type IngestReport = z.infer<typeof ingestReport>
