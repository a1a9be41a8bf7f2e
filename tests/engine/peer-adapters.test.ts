/** Adapters that PEFT and mlx-lm wrote give the logits that their writers gave, and are written again as they were. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { Runtime } from '../../src/engine/index.ts'
import { readAdapterFolder } from '../../src/engine/io/adapter-folder.ts'
import { exportModel } from '../../src/engine/io/export.ts'
import { writeTinyModel } from '../support/tiny-model.ts'
import { distances, writtenByPeers } from './peer-adapters.ts'

const folder = mkdtempSync(join(tmpdir(), 'shadow-peer-adapters-'))
afterAll(() => rmSync(folder, { recursive: true }))
const basePath = writeTinyModel(join(folder, 'base'))
const runtime = new Runtime({ threads: 2 })

describe.each(writtenByPeers())('$name', (adapter) => {
  test('it answers as its writer does, beside the base and merged', async () => {
    const { beside, merged } = await distances(adapter, runtime, basePath, folder)
    expect(beside).toBeLessThan(2e-5)
    expect(merged).toBeLessThan(2e-5)
  })

  test('it is written again as it was', async () => {
    const format = adapter.name.startsWith('mlx-lm') ? 'mlx-lm' : 'peft'
    const outFolder = join(folder, `${adapter.name}-again`)
    await exportModel({ basePath: null, adapterFolder: adapter.folder, format, outFolder })
    const before = readAdapterFolder(adapter.folder)
    const after = readAdapterFolder(outFolder)
    expect(after.config).toEqual(before.config)
    expect(after.tensors).toEqual(before.tensors)
    if (format === 'mlx-lm') return
    const bytes = (at: string): Buffer => readFileSync(join(at, 'adapter_model.safetensors'))
    expect(bytes(outFolder).equals(bytes(adapter.folder))).toBe(true)
  })
})
