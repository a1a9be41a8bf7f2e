/**
 * Adapters that PEFT and mlx-lm wrote (tests/fixtures/scripts/peer-adapters.py) are read, written again as they were,
 * and give the logits that their writers gave.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createModel, loadLora, loadModel, pack, Runtime } from '../../src/engine/index.ts'
import { readAdapterFolder } from '../../src/engine/io/adapter-folder.ts'
import { exportModel } from '../../src/engine/io/export.ts'
import { openModelFolder } from '../../src/engine/io/model-folder.ts'
import { storedWeights } from '../../src/engine/io/stored-tensor.ts'
import { writeTinyModel } from '../support/tiny-model.ts'
import { maxDifference } from './tiny-llama.ts'

const peers = fileURLToPath(new URL('../fixtures/peers', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'shadow-peer-adapters-'))
afterAll(() => rmSync(folder, { recursive: true }))
const basePath = writeTinyModel(join(folder, 'base'))
const runtime = new Runtime({ threads: 2 })
const { model } = loadModel(runtime, basePath)

const answer = z.object({
  prompt: z.array(z.number()),
  logits: z
    .base64()
    .transform((text) => new Float32Array(Uint8Array.from(Buffer.from(text, 'base64')).buffer)),
})

describe.each(readdirSync(peers))('%s', (name) => {
  const adapterFolder = join(peers, name)
  const { prompt, logits } = answer.parse(
    JSON.parse(readFileSync(join(adapterFolder, 'logits.json'), 'utf8')),
  )

  test('beside the base, it answers as its writer does', () => {
    const adapter = loadLora(model, adapterFolder)
    const found = runtime.tidy(() =>
      model.logits(model.hidden(pack([prompt]), adapter.view())).toFloat32Array(),
    )
    expect(maxDifference(found.slice(-logits.length), logits)).toBeLessThan(2e-5)
  })

  test('merged into the base, it answers as its writer does', async () => {
    const outFolder = join(folder, name)
    await exportModel({ basePath, adapterFolder, format: 'hf', outFolder })
    using merged = openModelFolder(outFolder)
    const alone = createModel(runtime, merged.config, storedWeights(merged.tensors))
    const found = runtime.tidy(() => alone.logits(alone.hidden(pack([prompt]), null)).toFloat32Array())
    expect(maxDifference(found.slice(-logits.length), logits)).toBeLessThan(2e-5)
  })

  test('it is written again as it was', async () => {
    const format = name.startsWith('mlx-lm') ? 'mlx-lm' : 'peft'
    const file = format === 'mlx-lm' ? 'adapters.safetensors' : 'adapter_model.safetensors'
    const outFolder = join(folder, `${name}-again`)
    await exportModel({ basePath: null, adapterFolder, format, outFolder })
    const before = readAdapterFolder(adapterFolder)
    const after = readAdapterFolder(outFolder)
    expect(after.config).toEqual(before.config)
    expect(after.tensors).toEqual(before.tensors)
    if (format === 'peft')
      expect(readFileSync(join(outFolder, file)).equals(readFileSync(join(adapterFolder, file)))).toBe(true)
  })
})
