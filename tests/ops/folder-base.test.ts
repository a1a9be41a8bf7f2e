/** A base model that is a Hugging Face folder: trained on, evaluated, promoted and served. */
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { exportModel } from '../../src/engine/io/export.ts'
import { hashBaseModel } from '../../src/ops/base-hash.ts'
import { testHome } from '../support/home.ts'
import { playSessions, startTraffic, taskName, tinySettings } from '../support/task-traffic.ts'
import { writeTinyModel } from '../support/tiny-model.ts'

it('goes the whole way from a folder', { timeout: 120_000 }, async () => {
  await using home = await testHome()
  await using stack = new AsyncDisposableStack()
  const { client } = await startTraffic(home, stack)
  await playSessions(client(), 26)
  const folder = join(home.path, 'tiny')
  const basePath = writeTinyModel(join(home.path, 'gguf'))
  await exportModel({ basePath, adapterFolder: null, format: 'hf', outFolder: folder })
  // What a clone of a hub's repository brings besides.
  mkdirSync(join(folder, 'original'))
  writeFileSync(join(folder, '.gitattributes'), '')

  await home.shadow(['tasks', 'set', taskName, ...tinySettings(folder)])
  const { code, stdout, stderr } = await home.shadow(['run', '--task', taskName, '--json'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const result: { promoted: boolean; version: string } = JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
  expect(result.promoted).toBe(true)
  expect(await playSessions(client(), 1, 100)).toEqual([result.version])

  // What it stands on is known by its files, and not by what else lies there.
  const hash = await hashBaseModel(folder)
  writeFileSync(join(folder, '.gitattributes'), '* text')
  expect(await hashBaseModel(folder)).toBe(hash)
  appendFileSync(join(folder, 'generation_config.json'), ' ')
  expect(await hashBaseModel(folder)).not.toBe(hash)
})
