/**
 * Whether the answer holds the reference, whatever stands around it. Both are brought to Unicode NFKC and
 * lower case, and runs of white space count as one space. An empty reference is held by an empty answer only,
 * since it would otherwise be held by any.
 */
import type { Scorer } from '../../src/contract/index.ts'

export const contains: Scorer = {
  name: 'contains',
  score(answer, reference) {
    const wanted = normalise(reference)
    const given = normalise(answer)
    if (wanted === '') return given === '' ? 1 : 0
    return given.includes(wanted) ? 1 : 0
  },
}

function normalise(text: string): string {
  return text.normalize('NFKC').toLowerCase().replace(/\s+/gu, ' ').trim()
}
