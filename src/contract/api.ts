/** The server's own API, under `/shadow/v1`. One schema for both sides of the wire. */
import { z } from 'zod'
import { callSelection } from './deletion.ts'
import { retentionRules } from './store-config.ts'
import { taskName } from './task.ts'
import { routeState, versionName } from './route.ts'

export const routeChange = z.strictObject({
  state: routeState,
  /** Needed for state `owned`. */
  version: versionName.nullable(),
  reason: z.string().min(1),
  /** What caused the change, when it must not be done twice. */
  sourceKey: z.string().optional(),
})
export type RouteChange = z.infer<typeof routeChange>

/** Deleting captured calls, or finding out how many that would be. */
export const deletionOrder = z.strictObject({ selection: callSelection, isDryRun: z.boolean() })
export type DeletionOrder = z.infer<typeof deletionOrder>

/** Letting go of calls that rules keep no longer, or finding out how many that would be. */
export const retentionOrder = z.strictObject({ rules: retentionRules, isDryRun: z.boolean() })
export type RetentionOrder = z.infer<typeof retentionOrder>

/** Lines of `shadow calls export --format jsonl`, or of other tools. */
export const importOrder = z.strictObject({
  lines: z.array(z.string()),
  /** For lines that name none. */
  task: taskName,
})
export type ImportOrder = z.infer<typeof importOrder>

export const imported = z.object({
  /** Calls that are new. */
  added: z.number().int(),
  /** Calls that were there already. */
  known: z.number().int(),
})
export type Imported = z.infer<typeof imported>
