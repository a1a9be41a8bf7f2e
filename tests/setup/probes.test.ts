import { statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { resolveAddonPath } from '../../src/setup/engine.mjs'
import { hasDefaultModel } from '../../src/setup/model.mjs'
import { cacheDir, shadowHome } from '../../src/setup/paths.mjs'
import { glibcSuffices } from '../../src/setup/prerequisites.mjs'
import { probeMachine } from '../../src/setup/probes.mjs'
import { tempFolder } from './host.ts'

afterEach(() => vi.unstubAllEnvs())

describe('the doctor', () => {
  test('finds everything where the tests run', async () => {
    const findings = await probeMachine()
    expect(findings.filter(({ ok }) => !ok)).toEqual([])
    expect(findings.map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        'node',
        'compiler',
        'backend',
        'blas',
        'engine',
        'device',
        'memory',
        'disk',
        'model',
      ]),
    )
    for (const { found } of findings) expect(found).not.toBe('')
  })

  test('says what to do about each thing that is missing', async () => {
    using folder = tempFolder()
    vi.stubEnv('SHADOW_CACHE', folder.path)
    vi.stubEnv('PATH', folder.path)
    vi.stubEnv('CXX', '')
    const missing = (await probeMachine()).filter(({ ok }) => !ok)
    expect(missing.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['npm', 'compiler', 'pip', 'python', 'backend', 'engine', 'model']),
    )
    for (const { hint } of missing) expect(hint).toMatch(/\.$/)
  })

  test('knows which glibc is old', () => {
    expect(['2.34', '2.35', '2.4', '3.0', undefined].map(glibcSuffices)).toEqual([
      false,
      true,
      false,
      true,
      false,
    ])
  })
})

describe('folders', () => {
  test('home and cache are private and follow the environment', () => {
    using folder = tempFolder()
    vi.stubEnv('SHADOW_HOME', join(folder.path, 'home'))
    vi.stubEnv('SHADOW_CACHE', undefined)
    expect(shadowHome()).toBe(join(folder.path, 'home'))
    expect(cacheDir()).toBe(join(folder.path, 'home', 'cache'))
    for (const dir of [shadowHome(), cacheDir()]) expect(statSync(dir).mode & 0o777).toBe(0o700)
    vi.stubEnv('SHADOW_CACHE', join(folder.path, 'elsewhere'))
    expect(cacheDir()).toBe(join(folder.path, 'elsewhere'))
  })

  test('an empty cache has neither engine nor model', () => {
    using folder = tempFolder()
    vi.stubEnv('SHADOW_CACHE', folder.path)
    expect(resolveAddonPath()).toBeUndefined()
    expect(hasDefaultModel()).toBe(false)
  })
})
