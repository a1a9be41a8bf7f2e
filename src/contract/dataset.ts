/** An immutable, hashed list of rows. Content only: no ULIDs, no times. */
import { z } from 'zod'
import { chatMessage, toolDefinition } from './message.ts'

export const datasetRow = z.object({
  /** Canonical node of the row's last message, hex. */
  leaf: z.string(),
  messages: z.array(chatMessage),
  tools: z.array(toolDefinition),
  /** One weight a message: how much of the loss its tokens carry; 0 is context. */
  loss: z.array(z.number().nonnegative()),
})
export type DatasetRow = z.infer<typeof datasetRow>

/** A document to learn every token of. */
export const textRow = z.strictObject({ text: z.string() })

/** What a training learns from: conversations, or raw text. */
export const trainingRow = z.union([datasetRow, textRow])
export type TrainingRow = z.infer<typeof trainingRow>

/** A held-out call to be answered by each contender. */
export const heldOutRow = z.object({
  promptNode: z.string(),
  /** Cluster for the intervals: calls of one session are not independent. */
  session: z.string(),
  messages: z.array(chatMessage),
  tools: z.array(toolDefinition),
  reference: z.string(),
  /** Where the reference came from. */
  referenceFrom: z.enum(['imported', 'first_reply']),
  /** The frontier's first captured answer to this prompt. */
  frontier: z.string(),
  maxTokens: z.number().int().positive().nullable(),
})
export type HeldOutRow = z.infer<typeof heldOutRow>
