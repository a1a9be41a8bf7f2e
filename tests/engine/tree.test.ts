import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  AdamW,
  buildTree,
  GradientAccumulator,
  LoraAdapter,
  lossAndGradients,
  partitionIntoTrees,
  Runtime,
  targetLogProbabilities,
  type TrainRow,
} from '../../src/engine/index.ts'
import { takeOptimizerStep } from '../../src/engine/optimizer-step.ts'
import { gradientDistance, outcome, triesModel, triesVocabulary } from './random-tries.ts'
import { relativeError } from './tiny-llama.ts'

const runtime = new Runtime()
const { model, adapter } = triesModel(runtime)
const leastShare = 0.03

/** Rows that branch off one another: each goes on from a prefix of an earlier one. Some repeat, some end inside others. */
const rowsOfTree = fc
  .array(
    fc.record({
      from: fc.nat(),
      keep: fc.double({ min: 0, max: 1, noNaN: true }),
      own: fc.array(fc.nat({ max: triesVocabulary - 1 }), { maxLength: 80 }),
      weights: fc.infiniteStream(fc.constantFrom(0, 0, 1, 0.5, 2)),
    }),
    { minLength: 1, maxLength: 8 },
  )
  .map((specs) => {
    const rows: TrainRow[] = []
    for (const { from, keep, own, weights } of specs) {
      const parent = rows[from % Math.max(1, rows.length)]?.ids ?? new Int32Array()
      const ids = Int32Array.of(...parent.slice(0, Math.round(keep * parent.length)), ...own)
      if (ids.length < 2) continue
      const targetWeights = Float32Array.from(ids, (_, t) => (t === 0 ? 0 : Number(weights.next().value)))
      targetWeights[ids.length - 1] = 1
      rows.push({ ids, targetWeights })
    }
    return rows
  })
  .filter((rows) => rows.length > 0)

function idsOf(rows: readonly TrainRow[]): Int32Array[] {
  return rows.map((row) => row.ids)
}

describe('the token tree', () => {
  test('holds every row as a path from a root, each shared prefix once', () => {
    fc.assert(
      fc.property(rowsOfTree, (rows) => {
        const { tokens, places } = buildTree(idsOf(rows))
        const prefixes = new Set(
          rows.flatMap(({ ids }) => Array.from(ids, (_, t) => ids.slice(0, t + 1).join())),
        )
        expect(tokens.ids.length).toBe(prefixes.size)
        rows.forEach(({ ids }, row) => {
          const path = [...(places[row] ?? [])]
          expect(path.map((place) => tokens.ids[place])).toEqual([...ids])
          expect(path.map((place) => tokens.positions[place])).toEqual([...ids.keys()])
        })
      }),
    )
  })

  test('loss and every gradient equal those of the padded batch over 200 random tries, 1e-5 relative; so do packed rows', () => {
    fc.assert(
      fc.property(rowsOfTree, (rows) => {
        const padded = outcome(model, adapter, rows, 'padded')
        expect(padded.tokens).toBe(rows.length * Math.max(...rows.map(({ ids }) => ids.length)))
        for (const layout of ['tree', 'packed'] as const) {
          const { weightSum, lossSum, gradients } = outcome(model, adapter, rows, layout)
          expect(weightSum).toBe(padded.weightSum)
          expect(Math.abs(lossSum / padded.lossSum - 1), layout).toBeLessThan(1e-5)
          expect(gradientDistance(gradients, padded.gradients, leastShare), layout).toBeLessThan(1e-5)
        }
      }),
      { numRuns: 200 },
    )
  })

  test('each row reads its own log-probabilities along its path', () => {
    fc.assert(
      fc.property(rowsOfTree, (rows) => {
        const shared = targetLogProbabilities(model, adapter, rows)
        const alone = rows.flatMap((row) => [...targetLogProbabilities(model, adapter, [row], 'packed')])
        expect(relativeError(shared, Float32Array.from(alone))).toBeLessThan(1e-5)
      }),
      { numRuns: 50 },
    )
  })

  test('does not depend on the order of the rows', () => {
    const rows = [[1, 2, 3], [1, 2, 4, 5], [6]].map((ids) => Int32Array.from(ids))
    expect(buildTree(rows.toReversed()).tokens).toEqual(buildTree(rows).tokens)
  })

  test('is refused under dropout, which draws for each row', () => {
    const dropping = LoraAdapter.create(model, { ...adapter.config, lora_dropout: 0.1 }, 1)
    const row = { ids: Int32Array.of(1, 2), targetWeights: Float32Array.of(0, 1) }
    expect(() => lossAndGradients(model, dropping, [row], { layout: 'tree', dropoutSeed: 1 })).toThrow(
      'dropout',
    )
  })
})

describe('partition', () => {
  const sizeOf = (rows: readonly Int32Array[]): number => buildTree(rows).tokens.ids.length

  test('keeps every row, fits every pass, and computes no more than any other cut of the order', () => {
    fc.assert(
      fc.property(rowsOfTree, fc.integer({ min: 1, max: 150 }), (rows, maxTokens) => {
        const ids = idsOf(rows)
        const passes = partitionIntoTrees(ids, maxTokens)
        const rowsOfPass = (pass: readonly number[]) => pass.map((row) => ids[row] ?? new Int32Array())
        expect(passes.flat().toSorted((a, b) => a - b)).toEqual([...ids.keys()])
        for (const pass of passes)
          expect(pass.length === 1 || sizeOf(rowsOfPass(pass)) <= maxTokens).toBe(true)
        const order = passes.flat()
        const computed = passes.reduce((sum, pass) => sum + sizeOf(rowsOfPass(pass)), 0)
        for (let cuts = 0; cuts < 2 ** (order.length - 1); cuts++) {
          const other: number[][] = [[]]
          order.forEach((row, at) => {
            other.at(-1)?.push(row)
            if (at < order.length - 1 && (cuts & (1 << at)) !== 0) other.push([])
          })
          const fits = other.every((pass) => pass.length === 1 || sizeOf(rowsOfPass(pass)) <= maxTokens)
          if (!fits) continue
          const cost = other.reduce((sum, pass) => sum + sizeOf(rowsOfPass(pass)), 0)
          expect(computed).toBeLessThanOrEqual(cost)
        }
      }),
      { numRuns: 60 },
    )
  })

  test('passes add up to the loss and the gradients of the whole padded batch, 1e-5 relative', () => {
    fc.assert(
      fc.property(rowsOfTree, fc.integer({ min: 1, max: 150 }), (rows, maxTokens) => {
        const sums = new GradientAccumulator(runtime)
        for (const pass of partitionIntoTrees(idsOf(rows), maxTokens))
          sums.add(
            lossAndGradients(
              model,
              adapter,
              pass.flatMap((row) => rows[row] ?? []),
            ),
          )
        const padded = outcome(model, adapter, rows, 'padded')
        expect(sums.weightSum).toBe(padded.weightSum)
        expect(Math.abs(sums.lossSum / padded.lossSum - 1)).toBeLessThan(1e-5)
        const summed = sums.gradients.map((gradient) => gradient.toFloat32Array())
        expect(gradientDistance(summed, padded.gradients, leastShare)).toBeLessThan(1e-5)
        sums.reset()
      }),
      { numRuns: 60 },
    )
  })

  test('equal rows are one, however many', () => {
    const [a, b] = [Int32Array.from({ length: 20 }, (_, t) => t), Int32Array.of(7, 7)]
    const rows = Array.from({ length: 20_000 }, (_, row) => (row % 2 === 0 ? a : b))
    const [first, second, ...more] = partitionIntoTrees(rows, 20)
    expect([first?.length, second?.length, more]).toEqual([10_000, 10_000, []])
    expect(partitionIntoTrees(rows, 22)).toHaveLength(1)
  })

  test('a row longer than the budget gets a pass of its own', () => {
    const rows = [new Int32Array(50).fill(1), new Int32Array(3).fill(2), new Int32Array(4).fill(3)]
    expect(partitionIntoTrees(rows, 10)).toEqual([[0], [1, 2]])
  })
})

describe('a loss that is not a number', () => {
  test('names its row', () => {
    const row = { ids: Int32Array.of(1, 2, 3), targetWeights: Float32Array.of(0, 1, 1) }
    const broken = { ...row, targetWeights: Float32Array.of(0, 1, Number.NaN), name: 'row 41' }
    expect(() => lossAndGradients(model, adapter, [row, broken])).toThrow('row 41')
  })

  test('nor is its gradient, whose rows are looked at one by one', () => {
    const row = { ids: Int32Array.of(1, 2, 3), targetWeights: Float32Array.of(0, 1, 1) }
    const steep = { ...row, targetWeights: Float32Array.of(0, 1e37, 0), name: 'row 41' }
    const loud = LoraAdapter.create(model, { ...adapter.config, lora_alpha: 1e8 }, 12)
    expect(Number.isFinite(lossAndGradients(model, loud, [steep]).lossSum)).toBe(true)
    const optimizer = new AdamW(runtime, loud.parameters)
    const before = loud.tensors()
    expect(() =>
      takeOptimizerStep({
        model,
        adapter: loud,
        optimizer,
        passes: [[row], [steep]],
        learningRate: 1,
        maxGradNorm: 1,
      }),
    ).toThrow(/gradient is not a finite number: row 41\.$/)
    expect(loud.tensors()).toEqual(before)
  })
})
