import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BatchOrder, passesOf } from '../../trainers/batches.ts'

function row(length: number): { ids: Int32Array; targetWeights: Float32Array } {
  return { ids: new Int32Array(length), targetWeights: new Float32Array(length) }
}

describe('batches', () => {
  it('reads every row once an epoch, whatever the batch size, and the same from any step', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 20 }),
        fc.nat(),
        (rows, batchSize, seed) => {
          const order = new BatchOrder(rows, batchSize, seed)
          const steps = Math.ceil((2 * rows) / batchSize)
          const all = Array.from({ length: steps }, (_, step) => order.rowsOf(step))
          const flat = all.flat()
          for (const epoch of [flat.slice(0, rows), flat.slice(rows, 2 * rows)]) {
            expect(epoch.toSorted((a, b) => a - b)).toEqual(Array.from({ length: rows }, (_, index) => index))
          }
          const last = steps - 1
          expect(new BatchOrder(rows, batchSize, seed).rowsOf(last)).toEqual(all[last])
        },
      ),
    )
  })

  it('shuffles epochs differently', () => {
    const order = new BatchOrder(64, 64, 1)
    expect(order.rowsOf(0)).not.toEqual(order.rowsOf(1))
  })

  it('fills passes up to the budget without losing or moving a row', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1 }),
        fc.integer({ min: 10, max: 200 }),
        (lengths, budget) => {
          const rows = lengths.map(row)
          const passes = passesOf(rows, budget)
          expect(passes.flat()).toEqual(rows)
          for (const pass of passes) {
            const tokens = pass.reduce((sum, one) => sum + one.ids.length, 0)
            expect(pass.length === 1 || tokens <= budget).toBe(true)
          }
        },
      ),
    )
  })
})
