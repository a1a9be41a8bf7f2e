import { describe, expect, it } from 'vitest'
import { trainConfig } from '../../src/contract/train-config.ts'
import { buildTree, ChatTemplate } from '../../src/engine/index.ts'
import { sft } from '../../trainers/methods/sft.ts'
import { turnViews } from '../../trainers/methods/turn-views.ts'
import { defaultText } from '../engine/default-model.ts'

const { tokenizer } = defaultText()
/** Shows reasoning in the last message alone. */
const chatTemplate = new ChatTemplate(
  "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and not loop.last and '</think>' in m.content %}{{ m.content.split('</think>')[-1] }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
  tokenizer,
)
const messages = [
  { role: 'user', content: 'Is the shop at the corner of the market open today?' },
  { role: 'assistant', content: '<think>It is Monday.</think>Yes, until six.' },
  { role: 'user', content: 'And tomorrow?' },
  { role: 'assistant', content: 'Also until six.' },
  { role: 'user', content: 'On Sunday?' },
  { role: 'assistant', content: '<think>Sunday it rests.</think>No.' },
] as const
const row = { leaf: '', messages: [...messages], tools: [], loss: [0, 1, 0, 0.5, 0, 2] }

describe('reasoning that the template strips from later turns', () => {
  it('is learned at the end of the conversation that it ended, other turns in the whole', () => {
    expect(
      turnViews(
        chatTemplate,
        row,
        row.loss.map((weight) => weight > 0),
      ),
    ).toEqual([
      { messages: 6, lossOn: [false, false, false, true, false, true] },
      { messages: 2, lossOn: [false, true] },
    ])
    const final = [false, false, false, false, false, true]
    expect(turnViews(chatTemplate, row, final)).toEqual([{ messages: 6, lossOn: final }])
    expect(
      turnViews(
        chatTemplate,
        row,
        row.loss.map(() => false),
      ),
    ).toEqual([])
  })

  it('hangs as a side leaf beside the trunk, each turn with its weight', () => {
    const numbered = [{ row, line: 1 }]
    const { examples } = sft.prepare(numbered, { tokenizer, chatTemplate }, trainConfig.parse({}), 1024)
    expect(examples).toHaveLength(1)
    const rows = examples.flat()
    const learned = rows.map(({ ids, targetWeights }) =>
      [0.5, 1, 2].map((weight) =>
        tokenizer.decode(Int32Array.from([...ids].filter((_, t) => targetWeights[t] === weight))),
      ),
    )
    expect(learned).toEqual([
      ['Also until six.<|im_end|>', '', '<think>Sunday it rests.</think>No.<|im_end|>'],
      ['', '<think>It is Monday.</think>Yes, until six.<|im_end|>', ''],
    ])
    const [trunk, side] = rows.map(({ ids }) => ids)
    if (trunk === undefined || side === undefined) throw new Error('two rows')
    const prompt = chatTemplate.encodePrompt(messages.slice(0, 1))
    const { tokens } = buildTree([trunk, side])
    expect(tokens.parents).toEqual(Int32Array.of(-1, 0, 0))
    expect(tokens.segments[1]).toBe(prompt.length)
    expect(tokens.ids.length).toBe(trunk.length + side.length - prompt.length)
  })
})
