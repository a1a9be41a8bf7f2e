/** Supervised fine-tuning: the mean NLL of the tokens that loss_on names, each weighted as its message. */
import type { DatasetRow } from '../../src/contract/dataset.ts'
import type { LossOn } from '../../src/contract/train-config.ts'
import { chatTemplateOf, type ModelText, type TrainRow } from '../../src/engine/index.ts'
import { ShadowError } from '../../src/lib/error.ts'
import { trainDefaults } from '../../src/lib/train-defaults.ts'
import type { Example, Method, NumberedRow } from './method.ts'
import { packExamples } from './packing.ts'
import { type TurnView, turnViews } from './turn-views.ts'

export const sft: Method = {
  name: 'sft',
  learningRate: { lora: trainDefaults.learning_rate, full: 2e-5 },
  packing: false,
  prepare(rows, text, config, maxLength) {
    const prepared: Example[] = []
    let tooLong = 0
    let without = 0
    for (const numbered of rows) {
      const example = encode(conversation(numbered), text, config.loss_on, `Row ${numbered.line}`)
      const learned = example.filter((row) => row.targetWeights.some((weight) => weight > 0))
      // A row that was cut would teach an answer to a question the model never saw.
      if (example.some(({ ids }) => ids.length > maxLength)) tooLong += 1
      else if (learned.length === 0) without += 1
      else prepared.push(learned)
    }
    const leftOut = (count: number, why: string): string[] =>
      count === 0 ? [] : [`${count} of ${rows.length} rows ${why} and left out`]
    return {
      examples: (config.packing ?? sft.packing) ? packExamples(prepared, maxLength) : prepared,
      notes: [
        ...leftOut(tooLong, `are longer than ${maxLength} tokens`),
        ...leftOut(without, 'have no token to learn'),
      ],
    }
  },
}

function conversation({ row, line }: NumberedRow): DatasetRow {
  if ('messages' in row) return row
  throw new ShadowError('invalid_request', `Row ${line} is plain text; sft learns from conversations.`, {
    hint: 'Set method to cpt for raw text, or give the row messages.',
  })
}

/** The whole conversation, and beside it a leading part for each learned turn that the template strips once others follow. */
function encode(row: DatasetRow, text: ModelText, lossOn: LossOn, name: string): Example {
  const chatTemplate = chatTemplateOf(text)
  const last = row.loss.findLastIndex((weight) => weight > 0)
  const learned = row.loss.map((weight, index) => weight > 0 && (lossOn !== 'final' || index === last))
  const views = turnViews(chatTemplate, row, learned)
  const encodeView = (view: TurnView, rest: number): TrainRow => {
    const { ids, spans } = chatTemplate.encode(row.messages.slice(0, view.messages), {
      tools: row.tools,
      lossOn: view.lossOn,
    })
    const targetWeights = new Float32Array(ids.length).fill(rest, 1)
    for (const { message, start, end } of spans) targetWeights.fill(row.loss[message] ?? 0, start, end)
    return { ids, targetWeights, name }
  }
  if (lossOn !== 'all') return views.map((view) => encodeView(view, 0))
  const sides = views.filter(({ messages }) => messages < row.messages.length)
  const aside = new Set(sides.map(({ messages }) => messages - 1))
  const weighted = row.messages.map(({ role }, index) => role === 'assistant' && !aside.has(index))
  return [
    encodeView({ messages: row.messages.length, lossOn: weighted }, 1),
    ...sides.map((view) => encodeView(view, 0)),
  ]
}
