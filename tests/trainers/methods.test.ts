import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { TrainingRow } from '../../src/contract/dataset.ts'
import { trainConfig } from '../../src/contract/train-config.ts'
import { packExamples } from '../../trainers/methods/packing.ts'
import { methods } from '../../trainers/registry.ts'
import { conversations, type TinyTraining, tinyTraining } from './tiny-training.ts'

describe('methods', () => {
  let tiny: TinyTraining
  beforeAll(() => {
    tiny = tinyTraining()
  })
  afterAll(() => tiny[Symbol.dispose]())

  function prepare(rows: readonly TrainingRow[], settings: Record<string, unknown>) {
    const config = trainConfig.parse(settings)
    const numbered = rows.map((row, index) => ({ row, line: index + 1 }))
    return methods[config.method].prepare(numbered, tiny.text, config, config.max_length)
  }

  /** The text of each run of equal weights. */
  function weighted(settings: Record<string, unknown>): [string, number][] {
    const [row] = prepare(conversations(1), settings).examples[0] ?? []
    const runs: { ids: number[]; weight: number }[] = []
    row?.ids.forEach((id, t) => {
      const weight = row.targetWeights[t] ?? 0
      if (runs.at(-1)?.weight === weight) runs.at(-1)?.ids.push(id)
      else runs.push({ ids: [id], weight })
    })
    return runs.map(({ ids, weight }) => [tiny.text.tokenizer.decode(ids), weight])
  }

  it('sft learns the turns that loss_on names, each with its weight', () => {
    expect(weighted({}).filter(([, weight]) => weight > 0)).toEqual([
      ['ok 0<|im_end|>', 0.5],
      ['yes<|im_end|>', 1],
    ])
    expect(weighted({ loss_on: 'final' }).filter(([, weight]) => weight > 0)).toEqual([['yes<|im_end|>', 1]])
    const all = weighted({ loss_on: 'all' })
    expect(all[0]).toEqual(['<|im_start|>', 0])
    expect(all.filter(([, weight]) => weight === 0.5)).toEqual([['ok 0<|im_end|>', 0.5]])
    expect(all.filter(([, weight]) => weight === 0)).toHaveLength(1)
  })

  it('sft never learns a turn that its row turned down, and leaves out rows without any', () => {
    const [row] = conversations(1)
    if (row === undefined) throw new Error('A conversation is missing.')
    const refused = { ...row, loss: [0, 0, 0, 0, 0] }
    expect(prepare([refused, row], {})).toMatchObject({
      notes: ['1 of 2 rows have no token to learn and left out'],
    })
    const [kept] = prepare([{ ...row, loss: [0, 0, 0, 0, 1] }], { loss_on: 'all' }).examples[0] ?? []
    const { ids, targetWeights } = kept ?? { ids: new Int32Array(), targetWeights: new Float32Array() }
    expect(tiny.text.tokenizer.decode(ids.filter((_, t) => t > 0 && targetWeights[t] === 0))).toBe(
      'ok 0<|im_end|>',
    )
  })

  it('sft leaves out what is too long and says so; each method names a row of the other kind', () => {
    expect(prepare(conversations(3), { max_length: 20 })).toEqual({
      examples: [],
      notes: ['3 of 3 rows are longer than 20 tokens and left out'],
    })
    expect(() => prepare([...conversations(1), { text: 'x' }], {})).toThrow('Row 2 is plain text')
    expect(() => prepare(conversations(1), { method: 'cpt' })).toThrow('Row 1 is a conversation')
  })

  it('cpt predicts every token of a document but its first, once, and ends it', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ maxLength: 60 }), { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 2, max: 30 }),
        fc.boolean(),
        (documents, max_length, packing) => {
          const rows = documents.map((text) => ({ text }))
          const { examples } = prepare(rows, { method: 'cpt', max_length, packing })
          const pieces = examples.flat()
          for (const example of examples)
            expect(example.reduce((sum, piece) => sum + piece.ids.length, 0)).toBeLessThanOrEqual(max_length)
          const end = tiny.text.tokenizer.eosTokenId ?? -1
          for (const [index, { text }] of rows.entries()) {
            const own = pieces.filter((piece) => piece.name === `Row ${index + 1}`)
            const predicted = own.flatMap((piece) =>
              Array.from(piece.ids).filter((_, t) => piece.targetWeights[t] === 1),
            )
            const ids = [...tiny.text.tokenizer.encode(text), end]
            expect(predicted.toSorted((a, b) => a - b)).toEqual(ids.slice(1).toSorted((a, b) => a - b))
          }
        },
      ),
    )
  })

  it('packing fills examples without losing, doubling or cutting a row', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 50 }), { maxLength: 60 }), (lengths) => {
        const rows = lengths.map((length, index) => ({
          ids: new Int32Array(length).fill(index),
          targetWeights: new Float32Array(length),
        }))
        const examples = packExamples(
          rows.map((row) => [row]),
          50,
        )
        expect(new Set(examples.flat())).toEqual(new Set(rows))
        expect(examples.flat()).toHaveLength(rows.length)
        const sizes = examples.map((example) => example.reduce((sum, row) => sum + row.ids.length, 0))
        expect(sizes.every((size) => size <= 50)).toBe(true)
        // No two of them would fit into one.
        const [least = 50, next = 50] = sizes.toSorted((a, b) => a - b)
        expect(sizes.length < 2 || least + next > 50).toBe(true)
      }),
    )
  })

  it('packed rows do not see each other: the loss is that of the rows alone', async () => {
    const settings = { max_steps: 1, per_device_train_batch_size: 6, lora_dropout: 0 }
    const apart = await tiny.run(settings)
    const packed = await tiny.run({
      ...settings,
      packing: true,
      per_device_train_batch_size: 3,
      max_length: 200,
    })
    const loss = ({ metrics }: typeof apart): number =>
      metrics[0] !== undefined && 'loss' in metrics[0] ? metrics[0].loss : 0
    expect(Math.abs(loss(packed) / loss(apart) - 1)).toBeLessThan(1e-5)
  })
})
