/** Hostile files for a few seconds; `npm run test:fuzz` goes through 100,000. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { FileWindow } from '../../src/engine/io/file-window.ts'
import { loadGguf } from '../../src/engine/io/gguf.ts'
import { openSafetensors } from '../../src/engine/io/safetensors.ts'
import { loadText } from '../../src/engine/model-files.ts'
import { ShadowError } from '../../src/lib/error.ts'
import { ensureEngine } from '../../src/setup/engine.mjs'
import { tinyLlama, writeGguf } from '../engine/gguf-writer.ts'
import { fuzzFiles } from './fuzz-files.ts'
import { endlessTemplate } from './gguf.ts'
import { judgeLoad } from './oracle.ts'

const folder = mkdtempSync(join(tmpdir(), 'shadow-fuzz-test-'))
afterAll(() => rmSync(folder, { recursive: true }))

test('no loader crashes, hangs, or takes memory that its file does not have', async () => {
  const report = await fuzzFiles({ inputs: 1_000_000, firstSeed: 1_000_000_000, timeLimitMs: 4000 })
  expect(report.findings).toEqual([])
  expect(report.inputs).toBeGreaterThan(200)
  // Neither is everything refused, nor accepted: the spoiled files are close to right ones.
  expect(report.refused).toBeGreaterThan(report.inputs / 2)
  expect(report.refused).toBeLessThan(report.inputs * 0.99)
})

const kept: unknown[] = []
test.each<[string, () => void, RegExp]>([
  ['an untyped error', () => JSON.parse('{'), /untyped/],
  [
    'an error without its file',
    () => {
      throw new ShadowError('invalid_file', 'It is damaged.')
    },
    /names no file/,
  ],
  [
    'another code',
    () => {
      throw new ShadowError('internal', 'Something.')
    },
    /code internal/,
  ],
  ['a claimed buffer', () => kept.push(new Float32Array(1e6)), /bytes of buffers/],
  ['a claimed list', () => kept.push(Array.from({ length: 5e5 }, (_, i) => ({ i }))), /bytes of heap/],
])('%s is a finding', (_name, load, problem) => {
  expect(judgeLoad(load, folder, 100, { spareHeapBytes: 1e7 }).problem).toMatch(problem)
})

test('named pipes, devices and folders are refused at once', () => {
  const pipe = join(folder, 'pipe')
  execFileSync('mkfifo', [pipe])
  const device = join(folder, 'device')
  symlinkSync('/dev/zero', device)
  for (const path of [pipe, device, folder])
    expect(() => new FileWindow(path)).toThrow(expect.objectContaining({ code: 'invalid_file' }))
})

test('what a file says of itself reaches no terminal as it is', () => {
  const path = join(folder, 'names.safetensors')
  const header = JSON.stringify({ [`\u001b[2J${'x'.repeat(10_000)}`]: {} })
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  writeFileSync(path, Buffer.concat([length, Buffer.from(header)]))
  expect(() => openSafetensors(path)).toThrow(/header of \u{fffd}\[2Jx+…/u)
})

test('a template that does not end is refused', () => {
  const path = join(folder, 'endless.gguf')
  writeFileSync(path, writeGguf(tinyLlama({ 'tokenizer.chat_template': ['string', endlessTemplate] })))
  expect(() => loadText(path)).toThrow(/endless.gguf: tokenizer.chat_template: .*does not end/)
})

test('tensors that share bytes are refused', () => {
  const spec = tinyLlama()
  const path = join(folder, 'shared.gguf')
  const again = { name: 'again', shape: [5, 8], type: 0, data: new Uint8Array(0), offset: 0n }
  writeFileSync(path, writeGguf({ ...spec, tensors: [...spec.tensors, again] }))
  expect(() => loadGguf(path)).toThrow(/tensor again: its bytes at \d+ belong to another tensor/)
})

test("the addon imports none of MLX's loaders", async () => {
  const addon = readFileSync(await ensureEngine())
  expect(addon.includes('mlx4core6matmul')).toBe(true)
  for (const loader of ['load_gguf', 'load_safetensors', 'mlx4core4load', 'import_function'])
    expect(addon.includes(loader), loader).toBe(false)
})
