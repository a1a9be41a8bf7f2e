/** What a check of the store found. */
import { z } from 'zod'

export const storeCheck = z.object({
  /** What was looked at, as a person reads it. */
  name: z.string(),
  /** How many of them. */
  checked: z.number().int(),
  /** One sentence each; at most `damageShown` of them. */
  damage: z.array(z.string()),
  /** How many there are in all. */
  damaged: z.number().int(),
  /** What is no damage and worth knowing. */
  note: z.string().nullable(),
})
export type StoreCheck = z.infer<typeof storeCheck>

/** Sentences of damage that one check spells out. */
export const damageShown = 20
