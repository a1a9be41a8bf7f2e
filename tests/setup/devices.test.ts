import { expect, test } from 'vitest'
import { chooseDevice, devices } from '../../src/setup/devices.mjs'

const linux = { platform: 'linux', arch: 'x64', env: {}, cuda: () => ({}) } as const

test('without a GPU it is the processor', () => {
  expect(chooseDevice(linux)).toEqual({ device: 'cpu', reason: 'no GPU was found', failures: [] })
})

test('Apple silicon is Metal', () => {
  expect(chooseDevice({ ...linux, platform: 'darwin', arch: 'arm64' }).device).toBe('metal')
})

test('a CUDA device is used where the engine computes on it, and named where not', () => {
  const choice = chooseDevice({ ...linux, cuda: () => ({ found: 'NVIDIA H200, 570.1' }) })
  expect(choice.device).toBe(devices.cuda.computes ? 'cuda' : 'cpu')
  expect(choice.reason).toContain('NVIDIA H200')
})

test('what a driver fails with is passed on', () => {
  const failure = 'Driver/library version mismatch'
  expect(chooseDevice({ ...linux, cuda: () => ({ failure }) })).toMatchObject({
    device: 'cpu',
    failures: [`CUDA: ${failure}`],
  })
})

const refused: [string, RegExp][] = [
  ['gpu', /SHADOW_DEVICE is gpu; it may be auto, cpu, metal, cuda/],
  ['metal', /needs a Mac/],
]
if (!devices.cuda.computes) refused.push(['cuda', /does not compute yet/])
test.each(refused)('SHADOW_DEVICE=%s is refused with the reason', (name, problem) => {
  expect(() => chooseDevice({ ...linux, env: { SHADOW_DEVICE: name } })).toThrow(problem)
})

test('SHADOW_DEVICE=CPU is taken without a probe', () => {
  const cuda = (): never => {
    throw new Error('was probed')
  }
  expect(chooseDevice({ ...linux, env: { SHADOW_DEVICE: 'CPU' }, cuda }).device).toBe('cpu')
})
