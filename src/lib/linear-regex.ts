/**
 * Regular expressions whose time grows with the text and with nothing else, for patterns that users write: V8's
 * own linear engine (https://v8.dev/blog/non-backtracking-regexp), which refuses what it can't do so:
 * back-references, counted repetitions that are too large.
 */
import { setFlagsFromString } from 'node:v8'
import { messageOf, ShadowError } from './error.ts'

/** @throws ShadowError invalid_config when it is no regular expression, or can't be matched in linear time */
export function linearRegex(pattern: string, flags: string): RegExp {
  setFlagsFromString('--enable-experimental-regexp-engine')
  try {
    return new RegExp(pattern, `${flags}l`)
  } catch (cause) {
    throw new ShadowError('invalid_config', `The pattern ${pattern} can't be used: ${messageOf(cause)}.`, {
      hint: 'Leave out back-references and large counted repetitions.',
      cause,
    })
  }
}
