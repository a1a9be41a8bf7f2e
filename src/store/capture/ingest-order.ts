/** What passes between the event loop and the ingesting thread. */
import { z } from 'zod'
import { deletionPlan, retentionRules } from '../../contract/index.ts'
import { storedSelection } from './deletion.ts'

/** What the thread can be told to do; it reports after each. */
export const ingestOrder = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('ingest') }),
  z.object({ kind: z.literal('checkpoint') }),
  z.object({ kind: z.literal('stop') }),
  /** Notes which calls are to be deleted, and says how many they are. */
  z.object({ kind: z.literal('choose'), selection: storedSelection }),
  /** The same for calls that are kept no longer, the oldest first. */
  z.object({ kind: z.literal('expire'), rules: retentionRules, limit: z.number().int().positive() }),
  /** One step of making ready for deletion. */
  z.object({ kind: z.literal('prepare') }),
  z.object({ kind: z.literal('delete'), calls: z.number().int().positive() }),
  /** One step of giving free pages back. */
  z.object({ kind: z.literal('shrink') }),
  /** Removes what is left of what was chosen outside the tables: rejected records, old pages in the log. */
  z.object({ kind: z.literal('scrub'), selection: storedSelection.nullable(), keepIndexes: z.boolean() }),
])
export type IngestOrder = z.infer<typeof ingestOrder>

/** Orders that belong to a deletion. */
export type DeletionOrder = Exclude<IngestOrder, { kind: 'ingest' | 'checkpoint' | 'stop' }>

export const deletionStep = z.object({
  plan: deletionPlan.optional(),
  /** Calls that are gone now. */
  deleted: z.number().optional(),
  /** Whether the same order again would do more. */
  hasMore: z.boolean().optional(),
  unreadable: z.array(z.string()).optional(),
  isScrubbed: z.boolean().optional(),
})
export type DeletionStep = z.infer<typeof deletionStep>

export const ingestReport = z.object({
  /** What it took from the journal. */
  calls: z.number(),
  bytes: z.number(),
  lastId: z.string().nullable(),
  /** Whether the journal may hold more. */
  hasMore: z.boolean(),
  rejected: z.array(z.object({ id: z.string().nullable(), reason: z.string() })),
  step: deletionStep.nullable(),
  error: z.string().nullable(),
})
export type IngestReport = z.infer<typeof ingestReport>

export const nothingIngested: IngestReport = {
  calls: 0,
  bytes: 0,
  lastId: null,
  hasMore: false,
  rejected: [],
  step: null,
  error: null,
}
