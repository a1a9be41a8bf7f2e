/** Patterns of tokenizer.json: Oniguruma's syntax or a plain string, as JavaScript expressions. */
import { z } from 'zod'
import { messageOf } from '../../lib/error.ts'
import { SplitPreTokenizer } from './huggingface.ts'

const longest = 10_000

export const pattern = z
  .union([
    z.strictObject({ String: z.string().min(1).max(longest) }),
    z.strictObject({ Regex: z.string().min(1).max(longest) }),
  ])
  .transform((source, context) => {
    if ('String' in source) return literally(source.String)
    try {
      const split = new SplitPreTokenizer({
        type: 'Split',
        pattern: { Regex: source.Regex },
        behavior: 'Isolated',
        invert: false,
      })
      if (split.pattern !== null) return split.pattern
    } catch (thrown) {
      context.addIssue(`is not a pattern that can be used: ${messageOf(thrown)}`)
      return z.NEVER
    }
    context.addIssue('is not a pattern')
    return z.NEVER
  })

/** The expression that finds a text as it is. */
export function literally(text: string): RegExp {
  return new RegExp(text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, String.raw`\$&`), 'gu')
}
