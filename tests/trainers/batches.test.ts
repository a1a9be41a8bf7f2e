import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { passesOf } from '../../src/engine/index.ts'
import { BatchOrder } from '../../trainers/batches.ts'
import { siblingGroups } from '../../trainers/siblings.ts'

function row(length: number): { ids: Int32Array; targetWeights: Float32Array } {
  return { ids: new Int32Array(length), targetWeights: new Float32Array(length) }
}

function singles(rows: number): number[][] {
  return Array.from({ length: rows }, (_, index) => [index])
}

describe('batches', () => {
  it('reads every row once an epoch, whatever the batch size, and the same from any step', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 20 }),
        fc.nat(),
        (rows, batchSize, seed) => {
          const order = new BatchOrder(singles(rows), batchSize, seed)
          const steps = Math.ceil((2 * rows) / batchSize)
          const all = Array.from({ length: steps }, (_, step) => order.rowsOf(step))
          const flat = all.flat()
          for (const epoch of [flat.slice(0, rows), flat.slice(rows, 2 * rows)]) {
            expect(epoch.toSorted((a, b) => a - b)).toEqual(Array.from({ length: rows }, (_, index) => index))
          }
          const last = steps - 1
          expect(new BatchOrder(singles(rows), batchSize, seed).rowsOf(last)).toEqual(all[last])
        },
      ),
    )
  })

  it('shuffles epochs differently', () => {
    const order = new BatchOrder(singles(64), 64, 1)
    expect(order.rowsOf(0)).not.toEqual(order.rowsOf(1))
  })

  it('fills packed passes up to the budget without losing or moving a row', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1 }),
        fc.integer({ min: 10, max: 200 }),
        (lengths, budget) => {
          const rows = lengths.map(row)
          const passes = passesOf(rows, budget, 'packed')
          expect(passes.flat()).toEqual(rows)
          for (const pass of passes) {
            const tokens = pass.reduce((sum, one) => sum + one.ids.length, 0)
            expect(pass.length === 1 || tokens <= budget).toBe(true)
          }
        },
      ),
    )
  })

  it('counts what rows of a pass share once against the budget', () => {
    const prefix = Int32Array.from({ length: 900 }, (_, t) => t)
    const rows = Array.from({ length: 16 }, (_, index) => {
      const ids = Int32Array.of(...prefix, ...new Int32Array(30).fill(1000 + index))
      return { ids, targetWeights: new Float32Array(930) }
    })
    expect(passesOf(rows, 1024, 'packed')).toHaveLength(16)
    expect(passesOf(rows, 1380, 'tree')).toHaveLength(1)
    expect(passesOf(rows, 1140, 'tree').map((pass) => pass.length)).toEqual([8, 8])
  })
})

describe('sibling rows', () => {
  /** `groups` times `size` rows: a prompt for all, a prefix for each group, an end of its own for each row. */
  function grouped(groups: number, size: number): Int32Array[] {
    return Array.from({ length: groups * size }, (_, index) =>
      Int32Array.of(1, 2, 3, ...new Int32Array(20).fill(100 + (index % groups)), 1000 + index, 5),
    )
  }

  it('are put into one step, once an epoch, in an order that differs between epochs', () => {
    const rows = grouped(6, 4)
    const groups = siblingGroups(rows, 8)
    expect(groups).toEqual(Array.from({ length: 6 }, (_, group) => [0, 6, 12, 18].map((row) => row + group)))
    const order = new BatchOrder(groups, 8, 3)
    const steps = [0, 1, 2].map((step) => order.rowsOf(step))
    expect(steps.flat().toSorted((a, b) => a - b)).toEqual(rows.map((_, index) => index))
    for (const step of steps) expect(new Set(step.map((row) => row % 6)).size).toBe(2)
    expect([3, 4, 5].map((step) => order.rowsOf(step))).not.toEqual(steps)
    const other = new BatchOrder(groups, 8, 4)
    expect([0, 1, 2].map((step) => other.rowsOf(step))).not.toEqual(steps)
  })

  it('are as many as fit into a step: a long session is divided', () => {
    const session = Array.from({ length: 12 }, (_, turn) =>
      Int32Array.from({ length: 10 * (turn + 1) }, (_, t) => t),
    )
    const others = Array.from({ length: 12 }, (_, index) => new Int32Array(15).fill(500 + index))
    const groups = siblingGroups([...session, ...others], 8)
    expect(groups.filter((group) => group.length > 1).flat().length).toBeGreaterThanOrEqual(8)
    for (const group of groups) expect(group.length).toBeLessThanOrEqual(8)
    expect(groups.flat().toSorted((a, b) => a - b)).toEqual([...session, ...others].map((_, index) => index))
  })

  it('are not those that share only what every step shares', () => {
    const tasks = [7, 8].flatMap((task) =>
      Array.from({ length: 100 }, (_, index) =>
        Int32Array.of(...new Int32Array(50).fill(task), 100 + (index % 9), 200 + index, 1, 2, 3),
      ),
    )
    expect(siblingGroups(tasks, 16).every((group) => group.length === 1)).toBe(true)
  })

  it('stay together for any sizes, and every row comes once an epoch from any step', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 30 }),
        fc.integer({ min: 6, max: 20 }),
        fc.nat(),
        (sizes, batchSize, seed) => {
          let next = 0
          const groups = sizes.map((size) => Array.from({ length: size }, () => next++))
          const order = new BatchOrder(groups, batchSize, seed)
          const steps = Array.from({ length: Math.ceil((3 * next) / batchSize) }, (_, step) =>
            order.rowsOf(step),
          )
          const flat = steps.flat()
          for (const epoch of [0, 1, 2])
            expect(flat.slice(epoch * next, (epoch + 1) * next).toSorted((a, b) => a - b)).toEqual(
              groups.flat(),
            )
          steps.forEach((rows, step) =>
            expect(new BatchOrder(groups, batchSize, seed).rowsOf(step)).toEqual(rows),
          )
          // At most one group is divided at each border between steps.
          const stepOf = new Map(flat.slice(0, next).map((row, at) => [row, Math.floor(at / batchSize)]))
          const divided = groups.filter((group) => new Set(group.map((row) => stepOf.get(row))).size > 1)
          expect(divided.length).toBeLessThanOrEqual(Math.floor(next / batchSize))
        },
      ),
    )
  })
})
