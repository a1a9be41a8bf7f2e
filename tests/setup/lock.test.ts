import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { root, runProgram, tempFolder } from './host.ts'

/** Appends `<pid> in`, waits, appends `<pid> out`, under the lock. */
function worker(file: string): string[] {
  const source = `
    import { appendFileSync } from 'node:fs'
    import { setTimeout } from 'node:timers/promises'
    import { withLock } from ${JSON.stringify(join(root, 'src/setup/lock.mjs'))}
    await withLock('test', async () => {
      appendFileSync(${JSON.stringify(file)}, process.pid + ' in\\n')
      await setTimeout(100)
      appendFileSync(${JSON.stringify(file)}, process.pid + ' out\\n')
    })`
  return [process.execPath, '--input-type=module', '--eval', source]
}

test('processes take turns, a dead owner is passed over, nothing is left behind', async () => {
  using folder = tempFolder()
  const env = { SHADOW_CACHE: folder.path }
  const locks = join(folder.path, 'locks')
  const file = join(folder.path, 'turns')
  const { stdout: deadPid } = await runProgram([process.execPath, '--print', 'process.pid'])
  mkdirSync(locks)
  writeFileSync(join(locks, 'test.lock'), deadPid.trim())

  const ended = await Promise.all(Array.from({ length: 4 }, () => runProgram(worker(file), { env })))
  expect(ended.map(({ code, stderr }) => [code, stderr])).toEqual(Array.from({ length: 4 }, () => [0, '']))
  const turns = readFileSync(file, 'utf8').trim().split('\n')
  expect(turns).toHaveLength(8)
  for (let i = 0; i < turns.length; i += 2) expect(turns[i + 1]).toBe(turns[i]?.replace('in', 'out'))
  expect(readdirSync(locks)).toEqual([])
})
