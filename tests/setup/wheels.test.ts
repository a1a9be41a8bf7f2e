import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { sha256File } from '../../src/setup/files.mjs'
import { installWheel } from '../../src/setup/wheels.mjs'
import { runProgram, tempFolder } from './host.ts'

let folder: ReturnType<typeof tempFolder>
let sha256: string
const file = 'tiny_part-1.0-py3-none-any.whl'

/** pip looks for wheels in a folder instead of an index, by its own settings, as a user could tell it to. */
beforeEach(async () => {
  folder = tempFolder()
  const source = join(folder.path, 'source')
  mkdirSync(join(source, 'tiny', 'lib'), { recursive: true })
  mkdirSync(join(source, 'tiny_part-1.0.dist-info'))
  writeFileSync(join(source, 'tiny', 'lib', 'libtiny.so'), 'library')
  writeFileSync(join(source, 'tiny', 'notes.txt'), 'not needed')
  writeFileSync(
    join(source, 'tiny_part-1.0.dist-info', 'METADATA'),
    'Metadata-Version: 2.1\nName: tiny-part\nVersion: 1.0\n',
  )
  writeFileSync(
    join(source, 'tiny_part-1.0.dist-info', 'WHEEL'),
    'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
  )
  writeFileSync(join(source, 'tiny_part-1.0.dist-info', 'RECORD'), '')
  const wheel = join(folder.path, file)
  const zipped = await runProgram(
    ['python3', '-m', 'zipfile', '-c', wheel, 'tiny', 'tiny_part-1.0.dist-info'],
    { cwd: source },
  )
  expect(zipped.stderr).toBe('')
  sha256 = await sha256File(wheel)
  vi.stubEnv('SHADOW_CACHE', join(folder.path, 'cache'))
  vi.stubEnv('PIP_NO_INDEX', '1')
  vi.stubEnv('PIP_FIND_LINKS', folder.path)
})
afterEach(() => {
  vi.unstubAllEnvs()
  folder[Symbol.dispose]()
})

const wheel = () => ({ name: 'tiny-part', version: '1.0', tags: ['any'], sha256, keep: ['tiny/lib'] })

describe('a pinned wheel', () => {
  test('is checked, and only what is needed of it is kept', async () => {
    const target = join(folder.path, 'parts', 'tiny')
    await installWheel(wheel(), target)
    expect(readFileSync(join(target, 'tiny', 'lib', 'libtiny.so'), 'utf8')).toBe('library')
    expect(readdirSync(join(target, 'tiny'))).toEqual(['lib'])
    expect(readdirSync(join(folder.path, 'cache', 'tmp'))).toEqual([])
  })

  test('with another hash is not used', async () => {
    const target = join(folder.path, 'parts', 'tiny')
    const other = { ...wheel(), sha256: '0'.repeat(64) }
    await expect(installWheel(other, target)).rejects.toThrow(/has sha256 .* instead of the pinned 0{64}/)
    expect(existsSync(target)).toBe(false)
    expect(readdirSync(join(folder.path, 'cache', 'tmp'))).toEqual([])
  })

  test('that the index does not have is one sentence and what pip said', async () => {
    const missing = { ...wheel(), version: '2.0' }
    await expect(installWheel(missing, join(folder.path, 'x'))).rejects.toThrow(
      /^pip could not download tiny-part==2\.0: check the network and pip's index settings/,
    )
  })
})
