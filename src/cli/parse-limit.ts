import { ShadowError } from '../lib/error.ts'

/** How many of a list are shown. @throws ShadowError invalid_config */
export function parseLimit(text: string): number {
  const limit = Number(text)
  if (Number.isInteger(limit) && limit > 0) return limit
  throw new ShadowError('invalid_config', `"${text}" is no number to list.`, { hint: 'Use 1 or more.' })
}
