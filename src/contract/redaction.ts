/** What is taken out of calls before they are hashed and written. */
import { z } from 'zod'
import { linearRegex } from '../lib/linear-regex.ts'

export const redactionKind = z.enum(['email', 'phone', 'credit_card', 'iban', 'ip', 'us_ssn', 'api_key'])
export type RedactionKind = z.infer<typeof redactionKind>

export const redactionPattern = z.strictObject({
  /** Stands in the place of what was taken out: `[redacted:NAME]`. */
  name: z.string().regex(/^[a-z][a-z0-9_]{0,31}$/, 'is 1 to 32 of a-z, 0-9, "_", starting with a letter'),
  pattern: z.string().min(1).max(1000).refine(isLinear, {
    error: 'is no regular expression, or none that can be matched in linear time (a back-reference can’t)',
  }),
  ignoreCase: z.boolean().default(false),
})
export type RedactionPattern = z.infer<typeof redactionPattern>

export const redaction = z.strictObject({
  kinds: z.array(redactionKind).default([]),
  patterns: z.array(redactionPattern).default([]),
})
export type Redaction = z.infer<typeof redaction>

/** How often what was taken out of a call, by kind or name of the pattern. */
export const redactedCounts = z.record(z.string(), z.number().int().positive())
export type RedactedCounts = z.infer<typeof redactedCounts>

function isLinear(pattern: string): boolean {
  try {
    linearRegex(pattern, '')
    return true
  } catch {
    return false
  }
}
