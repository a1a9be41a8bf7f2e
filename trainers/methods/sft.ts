/** Supervised fine-tuning: the mean NLL of the marked assistant turns, each token weighted as its message. */
import type { DatasetRow } from '../../src/contract/dataset.ts'
import type { ModelText, TrainRow } from '../../src/engine/index.ts'
import type { Method } from './method.ts'

export const sft: Method = {
  name: 'sft',
  prepare(rows, text, config) {
    const prepared: TrainRow[] = []
    let tooLong = 0
    for (const row of rows) {
      const encoded = encode(row, text)
      // A row that was cut would teach an answer to a question the model never saw.
      if (encoded.ids.length > config.max_length) tooLong += 1
      else prepared.push(encoded)
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

function encode(row: DatasetRow, { chatTemplate }: ModelText): TrainRow {
  const { ids, spans } = chatTemplate.encode(row.messages, {
    tools: row.tools,
    lossOn: row.loss.map((weight) => weight > 0),
  })
  const targetWeights = new Float32Array(ids.length)
  for (const { message, start, end } of spans) targetWeights.fill(row.loss[message] ?? 0, start, end)
  return { ids, targetWeights }
}
