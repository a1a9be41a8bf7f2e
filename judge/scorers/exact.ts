/** Equality of text. White space around it is no difference; case, punctuation and inner white space are. */
import type { Scorer } from '../../src/contract/index.ts'

export const exact: Scorer = {
  name: 'exact',
  score: (answer, reference) => (answer.trim() === reference.trim() ? 1 : 0),
}
