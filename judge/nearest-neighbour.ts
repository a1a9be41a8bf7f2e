/**
 * The baseline that learns nothing: the answer that the most similar training request had. A task on which it
 * does well needs no model of its own.
 *
 * Similarity is the cosine of TF-IDF vectors over words and over runs of three to five characters of the last
 * user message (lower case, NFKC), with idf = ln((1 + N) / (1 + df)) + 1 as in scikit-learn's smooth_idf.
 */
import { type DatasetRow, type HeldOutRow, lastUserText } from '../src/contract/index.ts'
import { renderMessage } from './render.ts'

export interface Example {
  input: string
  answer: string
}

/** The requests and answers that training learns from: one for each turn that carries loss. */
export function examplesOf(rows: readonly DatasetRow[]): Example[] {
  return rows.flatMap(({ messages, loss }) =>
    messages.flatMap((message, index) =>
      (loss[index] ?? 0) > 0
        ? [{ input: lastUserText(messages.slice(0, index)), answer: renderMessage(message) }]
        : [],
    ),
  )
}

/** Answers held-out rows by look-up, '' where there is no example; ties go to the first example. */
export function nearestNeighbour(examples: readonly Example[]): (rows: readonly HeldOutRow[]) => string[] {
  const lookUp = createLookUp(examples)
  return (rows) => rows.map((row) => lookUp(lastUserText(row.messages)))
}

function createLookUp(examples: readonly Example[]): (input: string) => string {
  const counted = examples.map(({ input }) => termCounts(input))
  const documents = new Map<string, number>()
  for (const counts of counted)
    for (const term of counts.keys()) documents.set(term, (documents.get(term) ?? 0) + 1)
  const idf = (term: string): number => Math.log((1 + examples.length) / (1 + (documents.get(term) ?? 0))) + 1

  const postings = new Map<string, { example: number; weight: number }[]>()
  for (const [example, counts] of counted.entries()) {
    const norm = Math.hypot(...[...counts].map(([term, count]) => count * idf(term))) || 1
    for (const [term, count] of counts) {
      const list = postings.get(term) ?? []
      list.push({ example, weight: (count * idf(term)) / norm })
      postings.set(term, list)
    }
  }

  return (input) => {
    const scores = new Float64Array(examples.length)
    for (const [term, count] of termCounts(input)) {
      for (const { example, weight } of postings.get(term) ?? []) {
        scores[example] = (scores[example] ?? 0) + count * idf(term) * weight
      }
    }
    // The request's own norm is the same for every example and so decides nothing.
    let best = 0
    for (const [example, score] of scores.entries()) if (score > (scores[best] ?? 0)) best = example
    return examples[best]?.answer ?? ''
  }
}

function termCounts(text: string): Map<string, number> {
  const counts = new Map<string, number>()
  const add = (term: string): void => void counts.set(term, (counts.get(term) ?? 0) + 1)
  const normal = text.normalize('NFKC').toLowerCase()
  for (const word of normal.match(/[\p{L}\p{N}]+/gu) ?? []) {
    add(`word ${word}`)
    const padded = Array.from(` ${word} `)
    for (const length of [3, 4, 5]) {
      for (let at = 0; at + length <= padded.length; at += 1)
        add(`run ${padded.slice(at, at + length).join('')}`)
    }
  }
  return counts
}
