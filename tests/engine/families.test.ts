import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../src/lib/random.ts'
import { lossAndGradients, pack, Runtime, type TrainRow } from '../../src/engine/index.ts'
import { familyModel, readFamilies } from './families-fixture.ts'
import { maxDifference, relativeError } from './tiny-llama.ts'

const runtime = new Runtime()

function trainRow(ids: readonly number[]): TrainRow {
  return { ids: Int32Array.from(ids), targetWeights: Float32Array.from(ids, (_, t) => (t === 0 ? 0 : 1)) }
}

/** Rows that branch off one another. */
function branchingRows(seed: number, longest: number): TrainRow[] {
  const random = seededRandom(seed)
  const rows: number[][] = []
  for (let row = 0; row < 6; row++) {
    const parent = rows[Math.floor(random() * rows.length)] ?? []
    const kept = parent.slice(0, Math.round(random() * parent.length))
    const own = 2 + Math.floor(random() * (longest - kept.length - 2))
    rows.push([...kept, ...Array.from({ length: Math.max(0, own) }, () => Math.floor(random() * 41))])
  }
  return rows.map((ids) => trainRow(ids.slice(0, longest)))
}

describe.each(readFamilies())('%s against transformers and peft', (_name, family) => {
  const { model, adapter } = familyModel(runtime, family)

  test('takes exactly the tensors of its model', () => {
    expect(adapter.parameterNames.toSorted()).toEqual(family.factors.toSorted())
  })

  test('logits of packed rows, 1e-4 absolute', () => {
    const logits = runtime.tidy(() =>
      model.logits(model.hidden(pack(family.rows), adapter.view())).toFloat32Array(),
    )
    const expected = Float32Array.from(family.logits.flatMap((row) => [...row]))
    expect(maxDifference(logits, expected)).toBeLessThan(1e-4)
  })

  test('loss and the gradient of every factor, 1e-4 relative', () => {
    const { lossSum, gradients } = lossAndGradients(model, adapter, family.rows.map(trainRow))
    expect(Math.abs(lossSum / family.lossSum - 1)).toBeLessThan(1e-5)
    adapter.parameterNames.forEach((name, index) => {
      const actual = gradients[index]?.toFloat32Array() ?? new Float32Array()
      expect(relativeError(actual, family.gradients[name] ?? new Float32Array()), name).toBeLessThan(1e-4)
    })
    for (const gradient of gradients) gradient.dispose()
  })

  test('generation computes the same logits token by token and in one piece, alone and in company', () => {
    const rows = family.rows.filter((ids) => ids.length <= model.contextLength)
    expect(rows.length).toBeGreaterThan(0)
    const cache = model.createCache(3, model.contextLength)
    const step = (ids: number[], positions: number[], slots: number[]): Float32Array =>
      runtime.tidy(() => {
        const tokens = {
          ids: Int32Array.from(ids),
          positions: Int32Array.from(positions),
          slots: Int32Array.from(slots),
          cache,
        }
        return model.logits(model.step(tokens, adapter.view())).toFloat32Array()
      })
    rows.forEach((ids, row) => {
      const expected = family.logits[row] ?? new Float32Array()
      const alone = ids.flatMap((id, t) => [...step([id], [t], [0])])
      expect(maxDifference(Float32Array.from(alone), expected)).toBeLessThan(1e-4)
      const places = [...ids.keys()]
      const company = step(
        [...ids, ...ids.toReversed()],
        [...places, ...places],
        [...ids.map(() => 2), ...ids.map(() => 1)],
      )
      expect([...company.subarray(0, expected.length)]).toEqual(alone)
    })
    runtime.native.kvCacheDispose(cache)
  })

  test('rows that share tokens in a tree have the loss and gradients of the packed batch, 1e-5 relative', () => {
    for (let seed = 1; seed <= 5; seed++) {
      const rows = branchingRows(seed, Math.min(30, model.contextLength))
      const tree = lossAndGradients(model, adapter, rows, { layout: 'tree' })
      const packed = lossAndGradients(model, adapter, rows, { layout: 'packed' })
      expect(tree.tokens).toBeLessThan(packed.tokens)
      expect(Math.abs(tree.lossSum / packed.lossSum - 1)).toBeLessThan(1e-5)
      tree.gradients.forEach((gradient, index) => {
        const expected = packed.gradients[index]?.toFloat32Array() ?? new Float32Array()
        expect(
          relativeError(gradient.toFloat32Array(), expected),
          adapter.parameterNames[index],
        ).toBeLessThan(1e-5)
      })
    }
  })
})
