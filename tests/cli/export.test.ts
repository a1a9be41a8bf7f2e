import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { loadLora, loadModel, pack, Runtime } from '../../src/engine/index.ts'
import { exportModel } from '../../src/engine/io/export.ts'
import { saveAdapter } from '../../src/engine/io/peft.ts'
import { maxDifference } from '../engine/tiny-llama.ts'
import { randomAdapter } from '../engine/tiny-adapters.ts'
import { testHome } from '../support/home.ts'
import { writeTinyModel } from '../support/tiny-model.ts'

const folder = mkdtempSync(join(tmpdir(), 'shadow-export-cli-'))
afterAll(() => rmSync(folder, { recursive: true }))
const at = (...names: string[]): string => join(folder, ...names)
const basePath = writeTinyModel(at('base'))
const plain = randomAdapter(basePath)
await saveAdapter(at('nameless'), plain)
const named = { ...plain, config: { ...plain.config, base_model_name_or_path: basePath } }
await saveAdapter(at('named'), named)
await exportModel({ basePath: null, adapterFolder: at('named'), format: 'mlx-lm', outFolder: at('mlx') })
await exportModel({ basePath, adapterFolder: null, format: 'hf', outFolder: at('hf-base') })
await exportModel({ basePath, adapterFolder: at('named'), format: 'gguf-lora', outFolder: at('gguf-lora') })

const runtime = new Runtime({ threads: 2 })
function logitsOf(path: string, adapterFolder?: string): Float32Array {
  const { model } = loadModel(runtime, path)
  const lora = adapterFolder === undefined ? null : loadLora(model, adapterFolder).view()
  return runtime.tidy(() => model.logits(model.hidden(pack([[2, 60, 71, 100]]), lora)).toFloat32Array())
}
const reference = logitsOf(basePath, at('named'))

describe('each format is written, names its files, and gives the same logits', () => {
  test.each([
    // The base is the one that the adapter's own config names: PEFT's key, and mlx-lm's.
    ['peft', 'named', [], ['adapter_config.json', 'adapter_model.safetensors']],
    ['adapter', 'named', [], ['adapter_config.json', 'adapter_model.safetensors']],
    ['mlx-lm', 'named', [], ['adapter_config.json', 'adapters.safetensors']],
    ['gguf-lora', 'mlx', [], ['adapter.gguf']],
    ['gguf', 'mlx', ['--type', 'f32'], ['model.f32.gguf']],
    ['mlx-lm', 'gguf-lora', ['-m', basePath], ['adapter_config.json', 'adapters.safetensors']],
    [
      'hf',
      'nameless',
      ['-m', at('hf-base')],
      [
        'config.json',
        'generation_config.json',
        'model.safetensors',
        'tokenizer.json',
        'tokenizer_config.json',
      ],
    ],
  ])('%s', async (format, adapter, more, files) => {
    await using home = await testHome()
    const out = at(`out-${format}-${adapter}`)
    const { code, stdout, stderr } = await home.shadow([
      'export',
      at(adapter),
      '--format',
      format,
      '--to',
      out,
      ...more,
    ])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(readdirSync(out).toSorted()).toEqual(files)
    for (const file of files) expect(stdout).toMatch(new RegExp(`${file}  \\d+\\.\\d MB`))
    const logits =
      format === 'peft' || format === 'adapter' || format === 'mlx-lm'
        ? logitsOf(basePath, out)
        : format === 'gguf-lora'
          ? reference
          : logitsOf(format === 'gguf' ? join(out, 'model.f32.gguf') : out)
    expect(maxDifference(logits, reference)).toBeLessThan(1e-5)
  })
})

describe('what can not be exported is refused, and nothing is written', () => {
  test.each<[string, string, string[], number, RegExp]>([
    ['no known base', 'nameless', ['--format', 'hf'], 2, /does not say which base[\s\S]*-m/],
    ['a GGUF LoRA without its base', 'gguf-lora', ['--format', 'hf'], 2, /does not say which base[\s\S]*-m/],
    [
      'GGUF from a folder',
      'nameless',
      ['--format', 'gguf', '-m', at('hf-base')],
      1,
      /no tokenizer in GGUF's form/,
    ],
  ])('%s', async (_name, adapter, args, exit, says) => {
    await using home = await testHome()
    const { code, stderr } = await home.shadow(['export', at(adapter), '-o', at('x'), ...args])
    expect(code).toBe(exit)
    expect(stderr).toMatch(says)
    expect(stderr).not.toMatch(/^\s+at /m)
    expect(readdirSync(folder)).not.toContain('x')
  })
})
