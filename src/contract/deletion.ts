/** What is to be deleted of the captured traffic, and what came of it. */
import { z } from 'zod'
import { taskName } from './task.ts'

/** Calls for which every given criterion holds; at least one must be given. */
export const callSelection = z
  .strictObject({
    /** Ids of sessions. */
    sessions: z.array(z.string()).min(1).optional(),
    task: taskName.optional(),
    /** What the requests call their user: `user`, `safety_identifier`, `metadata.user_id`. */
    user: z.string().min(1).optional(),
    /** What the agent proved itself with, in each form that it may have had. */
    credentials: z.array(z.string().min(1)).min(1).optional(),
    /** Calls that arrived before this time, in milliseconds since the epoch. */
    before: z.number().optional(),
  })
  .refine((selection) => Object.values(selection).some((value) => value !== undefined), {
    error: 'says nothing of what to delete',
  })
export type CallSelection = z.infer<typeof callSelection>

export const deletionPlan = z.object({
  calls: z.number().int(),
  sessions: z.number().int(),
  tasks: z.array(z.string()),
})
export type DeletionPlan = z.infer<typeof deletionPlan>

export const deletionResult = deletionPlan.extend({
  /** Files with records that no table could take and that can't be searched; they may hold some of it. */
  unreadable: z.array(z.string()),
  /** False where another process was reading, so that old pages wait in the write-ahead log for it to end. */
  isScrubbed: z.boolean(),
})
export type DeletionResult = z.infer<typeof deletionResult>
