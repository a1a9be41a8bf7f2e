/** An adapter trained on a base that is quantised when it is loaded, from files to files. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { trainConfig } from '../../src/contract/train-config.ts'
import { exportModel } from '../../src/engine/io/export.ts'
import { runJob } from '../../trainers/run-job.ts'
import { writeTinyModel } from '../support/tiny-model.ts'
import { conversations } from './tiny-training.ts'

const root = mkdtempSync(join(tmpdir(), 'shadow-qlora-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))
const modelPath = writeTinyModel(join(root, 'wide'), 7, 64)

async function trainedLosses(settings: Record<string, unknown>, path = modelPath): Promise<number[]> {
  const folder = mkdtempSync(join(root, 'job-'))
  const datasetPath = join(folder, 'rows.jsonl')
  writeFileSync(
    datasetPath,
    conversations(6)
      .map((row) => `${JSON.stringify(row)}\n`)
      .join(''),
  )
  const config = trainConfig.parse({
    max_steps: 12,
    per_device_train_batch_size: 6,
    learning_rate: 0.01,
    warmup_steps: 0,
    ...settings,
  })
  const outputFolder = join(folder, 'out')
  const workFolder = join(folder, 'work')
  await runJob({ modelPath: path, baseModel: 'tiny', datasetPath, config, workFolder, outputFolder }, {})
  expect(existsSync(join(outputFolder, 'adapter', 'adapter_model.safetensors'))).toBe(true)
  const lines = readFileSync(join(outputFolder, 'metrics.ndjson'), 'utf8').trim().split('\n')
  return lines.flatMap((line) => z.object({ loss: z.number().optional() }).parse(JSON.parse(line)).loss ?? [])
}

describe('a quantised base', () => {
  test('learns as the float32 base does', async () => {
    const float = await trainedLosses({})
    for (const [setting, apart] of [
      ['load_in_4bit', 0.1],
      ['load_in_8bit', 0.01],
    ] as const) {
      const losses = await trainedLosses({ [setting]: true })
      expect(losses).toHaveLength(12)
      expect(losses[0]).not.toBe(float[0])
      expect(Math.abs((losses[0] ?? 0) / (float[0] ?? 1) - 1)).toBeLessThan(apart)
      expect(losses.at(-1)).toBeLessThan(0.7 * (losses[0] ?? 0))
    }
  })

  test('is exported unpacked, and the export says so', async () => {
    const notes: string[] = []
    const write = (basePath: string, format: 'gguf' | 'hf', outFolder: string, type: string) =>
      exportModel({
        basePath,
        adapterFolder: null,
        format,
        outFolder,
        type,
        onNote: (text) => notes.push(text),
      })
    await write(modelPath, 'gguf', join(root, 'q8'), 'q8_0')
    expect(notes).toEqual([])
    await write(join(root, 'q8', 'model.q8_0.gguf'), 'hf', join(root, 'hf'), 'bf16')
    expect(notes).toEqual(['The base is quantised (Q8_0); its weights are written as bf16.'])
  })
})
