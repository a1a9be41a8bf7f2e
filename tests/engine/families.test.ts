import { describe, expect, test } from 'vitest'
import { seededRandom } from '../../src/lib/random.ts'
import { padRows } from '../../src/engine/layout-deviation.ts'
import { lossAndGradients, Runtime, type TrainRow } from '../../src/engine/index.ts'
import { familyDistances, familyModel, readFamilies, trainRow } from './families-fixture.ts'
import { maxDifference, relativeError } from './tiny-llama.ts'

const runtime = new Runtime()

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

  test('has its tensors and layers under the same names', () => {
    expect(adapter.parameterNames.toSorted()).toEqual(family.factors.toSorted())
    const names = model.baseTensors().flatMap(({ parts }) => parts.map(({ name }) => name))
    expect(names.toSorted()).toEqual(family.names.toSorted())
  })

  test('logits within 1e-4, the gradient of every factor and of every parameter of the model within 1e-4', () => {
    const { logits, loss, factors, parameters } = familyDistances(runtime, family)
    expect(logits).toBeLessThan(1e-4)
    expect(loss).toBeLessThan(1e-5)
    expect(factors).toBeLessThan(1e-4)
    expect(parameters).toBeLessThan(1e-4)
  })

  test('generation computes the same logits token by token and in one piece, alone and in company', () => {
    const rows = family.rows.filter((ids) => ids.length <= model.contextLength)
    expect(rows.length).toBeGreaterThan(0)
    const cache = model.createCache(3, model.contextLength)
    using plan = model.plan(adapter.view())
    const step = (ids: number[], positions: number[], slots: number[]): Float32Array =>
      runtime.tidy(() => {
        const tokens = {
          ids: Int32Array.from(ids),
          positions: Int32Array.from(positions),
          slots: Int32Array.from(slots),
          cache,
        }
        return plan.step(tokens, [...ids.keys()]).toFloat32Array()
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

  test('rows that share tokens in a tree have the loss and gradients of the padded batch, 1e-5 relative', () => {
    for (let seed = 1; seed <= 5; seed++) {
      const rows = branchingRows(seed, Math.min(30, model.contextLength))
      const tree = lossAndGradients(model, adapter, rows, { layout: 'tree' })
      const padded = lossAndGradients(model, adapter, padRows(rows), { layout: 'packed' })
      expect(tree.tokens).toBeLessThan(tree.rowTokens)
      expect(Math.abs(tree.lossSum / padded.lossSum - 1)).toBeLessThan(1e-5)
      tree.gradients.forEach((gradient, index) => {
        const expected = padded.gradients[index]?.toFloat32Array() ?? new Float32Array()
        expect(
          relativeError(gradient.toFloat32Array(), expected),
          adapter.parameterNames[index],
        ).toBeLessThan(1e-5)
      })
    }
  })
})
