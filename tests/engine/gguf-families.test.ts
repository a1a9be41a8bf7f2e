/** GGUF files of the families: read back, exported again, and the same for llama.cpp where that is at hand. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createModel, loadModel, pack, Runtime } from '../../src/engine/index.ts'
import { exportModel } from '../../src/engine/io/export.ts'
import { loadGguf } from '../../src/engine/io/gguf.ts'
import { ggufTensorNames } from '../../src/engine/io/gguf-names.ts'
import { architectureOf } from '../../src/engine/models/registry.ts'
import { familyWeights, readFamilies } from './families-fixture.ts'
import { writeGgufFamilies } from './gguf-family-files.ts'
import { maxDifference } from './tiny-llama.ts'

const folder = mkdtempSync(join(tmpdir(), 'gguf-families-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const runtime = new Runtime()
const files = await writeGgufFamilies(folder)
const row = [5, 17, 40, 3, 22, 9, 31, 12, 28]

function logitsOf(path: string): Float32Array {
  const { model } = loadModel(runtime, path)
  return runtime.tidy(() => model.logits(model.hidden(pack([row]), null)).toFloat32Array())
}

describe.each(files)('$name', ({ name, family, path }) => {
  const model = createModel(runtime, family.config, familyWeights(family))
  const expected = runtime.tidy(() => model.logits(model.hidden(pack([row]), null)).toFloat32Array())

  test('computes from GGUF what it computes from memory, 1e-5', () => {
    expect(maxDifference(logitsOf(path), expected)).toBeLessThan(1e-5)
  })

  test('exported again it is the same to the last bit', async () => {
    const outFolder = join(folder, `again-${name}`)
    await exportModel({ basePath: path, adapterFolder: null, format: 'gguf', type: 'f32', outFolder })
    expect(logitsOf(join(outFolder, 'model.f32.gguf'))).toEqual(logitsOf(path))
  })

  test('exported as a Hugging Face folder it has its own class', async () => {
    const outFolder = join(folder, `hf-${name}`)
    await exportModel({ basePath: path, adapterFolder: null, format: 'hf', outFolder })
    const config: unknown = JSON.parse(readFileSync(join(outFolder, 'config.json'), 'utf8'))
    const given = z.looseObject({ model_type: z.string(), architectures: z.array(z.string()) }).parse(config)
    using opened = loadGguf(path)
    expect(given.model_type).toBe(opened.config.model_type)
    expect(given.architectures[0]?.toLowerCase()).toContain(given.model_type.replace('_text', ''))
    expect(architectureOf(given)).toEqual(opened.architecture)
  })
})

test('the names are those of the gguf package', () => {
  const url = new URL('../fixtures/engine/gguf-names.json', import.meta.url)
  const known = z
    .record(z.string(), z.record(z.string(), z.string()))
    .parse(JSON.parse(readFileSync(url, 'utf8')))
  for (const { family } of files) {
    const { model_type: type } = family.config
    const names = ggufTensorNames(type, architectureOf(family.config))
    for (const [gguf, { name }] of names) expect(`${type} ${gguf}`).toBe(`${type} ${known[type]?.[name]}`)
  }
})

test('gemma3 keeps its windows', () => {
  const windows = (config: { model_type: string }): unknown =>
    architectureOf(config).layers.map(({ heads }) => heads.window)
  const gemma = files.find(({ name }) => name === 'gemma3')
  if (gemma === undefined) throw new Error('gemma3')
  using opened = loadGguf(gemma.path)
  expect(windows(opened.config)).toEqual([4, 4, 4, 4, 4, undefined])
})

const python = process.env['SHADOW_PEERS_PYTHON']
test.skipIf(python === undefined)(
  'llama.cpp and, from exported folders, transformers compute the same',
  async () => {
    const script = fileURLToPath(new URL('../fixtures/scripts/gguf-families.py', import.meta.url))
    writeFileSync(join(folder, 'row.json'), JSON.stringify(row))
    const models = files.flatMap(({ name, path }) => [
      { name, path, from: path },
      { name, path: join(folder, `peer-${name}`), from: path },
    ])
    for (const { path, from } of models)
      if (path !== from)
        await exportModel({ basePath: from, adapterFolder: null, format: 'hf', outFolder: path })
    const options = {
      maxBuffer: 2 ** 28,
      stdio: ['ignore', 'pipe', 'inherit'] as ['ignore', 'pipe', 'inherit'],
    }
    const output = execFileSync(python ?? '', [script, ...models.map(({ path }) => path)], options).toString()
    const answers = z.array(z.array(z.number())).parse(JSON.parse(output))
    models.forEach(({ name, path, from }, index) => {
      const distance = maxDifference(Float32Array.from(answers[index] ?? []), logitsOf(from))
      // ggml reads GELU from a table in half precision.
      expect(distance, path).toBeLessThan(name === 'gemma3' && path === from ? 2e-3 : 1e-5)
    })
  },
)

test('every family of the fixture is covered', () => {
  const types = new Set(readFamilies().map(([, { config }]) => config.model_type))
  expect(new Set(files.map(({ family }) => family.config.model_type))).toEqual(types)
})
