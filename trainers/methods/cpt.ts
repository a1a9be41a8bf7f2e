/**
 * Continued pre-training on raw text: the mean NLL of every token. A document ends with the end-of-sequence token;
 * one longer than a row is cut into pieces, each of which begins with the last token of the piece before, so that
 * every token but a document's first is predicted once. Packed pieces don't see each other.
 */
import type { ModelText, TrainRow } from '../../src/engine/index.ts'
import { ShadowError } from '../../src/lib/error.ts'
import type { Example, Method, NumberedRow } from './method.ts'
import { packExamples } from './packing.ts'

export const cpt: Method = {
  name: 'cpt',
  learningRate: { lora: 2e-4, full: 1e-5 },
  packing: true,
  prepare(rows, text, config, maxLength) {
    if (maxLength < 2)
      throw new ShadowError('invalid_config', 'max_length is 1; a token needs one before it to be predicted.')
    const pieces: Example[] = []
    let empty = 0
    for (const numbered of rows) {
      const ids = encode(documentOf(numbered), text)
      if (ids.length < 2) empty += 1
      else pieces.push(...cut(ids, maxLength, `Row ${numbered.line}`).map((piece) => [piece]))
    }
    return {
      examples: (config.packing ?? cpt.packing) ? packExamples(pieces, maxLength) : pieces,
      notes: empty === 0 ? [] : [`${empty} of ${rows.length} rows are empty and left out`],
    }
  },
}

function documentOf({ row, line }: NumberedRow): string {
  if ('text' in row) return row.text
  throw new ShadowError('invalid_request', `Row ${line} is a conversation; cpt learns from raw text.`, {
    hint: 'Set method to sft, with loss_on all to learn every token of a conversation.',
  })
}

function encode(text: string, { tokenizer }: ModelText): number[] {
  const end = tokenizer.eosTokenId
  return [...tokenizer.encode(text), ...(end === undefined ? [] : [end])]
}

function cut(ids: readonly number[], maxLength: number, name: string): TrainRow[] {
  const pieces: TrainRow[] = []
  for (let start = 0; start + 1 < ids.length; start += maxLength - 1) {
    const piece = Int32Array.from(ids.slice(start, start + maxLength))
    pieces.push({ ids: piece, targetWeights: new Float32Array(piece.length).fill(1, 1), name })
  }
  return pieces
}
