/** Supervised fine-tuning: the mean NLL of the marked assistant turns, each token weighted as its message. */
import type { DatasetRow } from '../../src/contract/dataset.ts'
import type { ModelText, TrainRow } from '../../src/engine/index.ts'
import type { Method } from './method.ts'
import { turnViews } from './turn-views.ts'

export const sft: Method = {
  name: 'sft',
  prepare(rows, text, config) {
    const prepared: TrainRow[] = []
    let tooLong = 0
    for (const [index, row] of rows.entries()) {
      const encoded = encode(row, text, `Row ${index + 1} of the dataset`)
      // A row that was cut would teach an answer to a question the model never saw.
      if (encoded.some(({ ids }) => ids.length > config.max_length)) tooLong += 1
      else prepared.push(...encoded)
    }
    const notes =
      tooLong === 0
        ? []
        : [
            `${tooLong} of ${rows.length} rows are longer than max_length (${config.max_length} tokens) and left out`,
          ]
    return { rows: prepared, notes }
  },
}

/** One row of tokens, or several where the template strips turns once others follow. */
function encode(row: DatasetRow, { chatTemplate }: ModelText, name: string): TrainRow[] {
  const learned = row.loss.map((weight) => weight > 0)
  return turnViews(chatTemplate, row, learned).map(({ messages, lossOn }) => {
    const { ids, spans } = chatTemplate.encode(row.messages.slice(0, messages), { tools: row.tools, lossOn })
    const targetWeights = new Float32Array(ids.length)
    for (const { message, start, end } of spans) targetWeights.fill(row.loss[message] ?? 0, start, end)
    return { ids, targetWeights, name }
  })
}
