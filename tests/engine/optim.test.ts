import { expect, test } from 'vitest'
import { Runtime } from '../../src/engine/index.ts'
import { accumulationDistance, torchDistances } from './optim-distances.ts'

const runtime = new Runtime()

test('AdamW takes the 100 steps of torch.optim.AdamW with clipping and a linear schedule, 1e-6', () => {
  const distances = torchDistances(runtime)
  expect(distances.map(({ step }) => step)).toEqual([1, 10, 100])
  for (const { parameters, norm } of distances) {
    expect(parameters).toBeLessThan(1e-6)
    expect(norm).toBeLessThan(1e-6)
  }
})

test('eight passes of one row give what one pass of eight does, at ragged lengths, 1e-5', () => {
  expect(accumulationDistance(runtime)).toBeLessThan(1e-5)
})
