import { afterEach, expect, test } from 'vitest'
import { Runtime } from '../../src/engine/index.ts'
import { instructionSet } from '../../src/setup/engine.mjs'

const before = process.env['SHADOW_ENGINE_INSTRUCTIONS']

afterEach(() => {
  if (before === undefined) delete process.env['SHADOW_ENGINE_INSTRUCTIONS']
  else process.env['SHADOW_ENGINE_INSTRUCTIONS'] = before
})

test('an instruction set that nobody has falls back and says why', () => {
  process.env['SHADOW_ENGINE_INSTRUCTIONS'] = 'avx1024'
  expect(instructionSet()).toMatchObject({ name: 'native', missing: expect.stringContaining('avx1024') })
})

test('the portable set needs nothing and uses no bfloat16 products', () => {
  process.env['SHADOW_ENGINE_INSTRUCTIONS'] = 'portable'
  const { name, flags, missing } = instructionSet()
  expect({ name, missing }).toEqual({ name: 'portable', missing: undefined })
  expect(flags).not.toContain('-march=native')
})

test('the addon names what it was compiled for', () => {
  const wanted = instructionSet().name
  const used = new Runtime().native.instructions()
  expect([
    'avx512-bf16',
    'avx512',
    'avx2',
    'neon',
    'portable',
    'wide',
    'portable-bf16',
    'avx2-bf16',
  ]).toContain(used)
  if (wanted !== 'native') expect(used).toBe(wanted)
})
