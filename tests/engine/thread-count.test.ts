import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { Runtime } from '../../src/engine/index.ts'
import { defaultThreads, grantedCores } from '../../src/engine/tensor/thread-count.ts'

const root = mkdtempSync(join(tmpdir(), 'cgroup-'))
afterAll(() => rmSync(root, { recursive: true }))

function group(path: string, files: Record<string, string>): void {
  mkdirSync(join(root, path), { recursive: true })
  for (const [name, content] of Object.entries(files)) writeFileSync(join(root, path, name), content)
}

describe('the cores that control groups grant', () => {
  group('whole/app', { 'cpu.max': 'max 100000\n' })
  group('whole', { 'cpu.max': '250000 100000\n' })
  group('cpu/pod', { 'cpu.cfs_quota_us': '150000\n', 'cpu.cfs_period_us': '50000\n' })
  group('cpu/pod/small', { 'cpu.cfs_quota_us': '10000\n', 'cpu.cfs_period_us': '100000\n' })
  group('cpu/free', { 'cpu.cfs_quota_us': '-1\n', 'cpu.cfs_period_us': '100000\n' })

  test.each([
    ['a group is limited by the one that it lies in', '0::/whole/app\n', 2],
    ['version 1', '4:memory:/x\n3:cpu:/pod\n', 3],
    ['one core at least', '3:cpu,cpuacct:/pod/small\n', 1],
    ['no limit', '3:cpu:/free\n0::/elsewhere\n', Number.POSITIVE_INFINITY],
    ['no groups', '', Number.POSITIVE_INFINITY],
  ])('%s', (_, membership, cores) => {
    expect(grantedCores(root, membership)).toBe(cores)
  })
})

test('SHADOW_THREADS decides, and has to be a number', () => {
  expect(defaultThreads({ SHADOW_THREADS: '3' })).toBe(3)
  expect(defaultThreads({})).toBeLessThanOrEqual(availableParallelism())
  for (const wrong of ['0', '1.5', 'many', '-2'])
    expect(() => defaultThreads({ SHADOW_THREADS: wrong })).toThrow(
      expect.objectContaining({ code: 'invalid_config', message: expect.stringContaining(wrong) }),
    )
})

test('the runtime takes what it is told', () => {
  expect(new Runtime({ threads: 1 }).threads).toBe(1)
  expect(new Runtime({ threads: 3 }).threads).toBe(3)
})

test.runIf(process.platform === 'linux')('a process that is bound to one core takes one thread', () => {
  const main = new URL('../../src/engine/index.ts', import.meta.url).href
  const code = `import(${JSON.stringify(main)}).then(({ Runtime }) => console.log(new Runtime().threads))`
  const env = { ...process.env, SHADOW_THREADS: '' }
  const allowed = /^Cpus_allowed_list:\s*(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'
  const said = execFileSync('taskset', ['-c', allowed, process.execPath, '-e', code], {
    env,
    encoding: 'utf8',
  })
  expect(said.trim()).toBe('1')
})
