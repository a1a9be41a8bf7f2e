import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { ropeFrequencies } from '../../src/engine/nn/rope-frequencies.ts'

const fixture = z.array(
  z.object({
    dim: z.number(),
    theta: z.number(),
    maxPositions: z.number(),
    scaling: z.looseObject({ rope_type: z.string(), factor: z.number() }),
    inverse: z.array(z.number()),
    attentionFactor: z.number(),
  }),
)
const cases = fixture.parse(
  JSON.parse(readFileSync(new URL('../fixtures/engine/rope.json', import.meta.url), 'utf8')),
)

test.each(cases)('$scaling.rope_type, $dim columns: the frequencies of transformers', (expected) => {
  const { inverse, attentionFactor } = ropeFrequencies(expected)
  expect(inverse.length).toBe(expected.inverse.length)
  // The reference blends in f32: its weight is off by half an ulp of 1, which `factor` enlarges for slow pairs.
  const tolerance = expected.scaling.factor * 2 ** -23
  expected.inverse.forEach((value, i) => {
    expect(Math.abs((inverse[i] ?? Number.NaN) - value) / value, `pair ${i}`).toBeLessThan(tolerance)
  })
  expect(attentionFactor).toBeCloseTo(expected.attentionFactor, 12)
})

test('the older name `type` means the same', () => {
  const settings = { dim: 8, theta: 10_000, maxPositions: 64 }
  expect(ropeFrequencies({ ...settings, scaling: { type: 'linear', factor: 2 } })).toEqual(
    ropeFrequencies({ ...settings, scaling: { rope_type: 'linear', factor: 2 } }),
  )
})

test.each([
  [{ rope_type: 'proportional', factor: 2 }, /proportional is not supported/],
  [{ rope_type: 'longrope', factor: 2 }, /longrope is incomplete: .*short_factor/s],
  [{ rope_type: 'longrope', short_factor: [1], long_factor: [1, 1, 1, 1] }, /1 factors for 4 pairs/],
  [{ rope_type: 'linear' }, /linear is incomplete: .*factor/s],
  [{ rope_type: 'yarn', factor: -1 }, /yarn is incomplete/],
])('%o is refused by name', (scaling, problem) => {
  expect(() => ropeFrequencies({ dim: 8, theta: 10_000, maxPositions: 64, scaling })).toThrow(
    expect.objectContaining({ code: 'invalid_config', message: expect.stringMatching(problem) }),
  )
})

test('angles that are no numbers are refused', () => {
  expect(() => ropeFrequencies({ dim: 8, theta: 1e-300, maxPositions: 64 })).toThrow(
    expect.objectContaining({ code: 'invalid_config', message: expect.stringContaining('no finite angles') }),
  )
})
