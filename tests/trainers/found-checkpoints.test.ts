import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exportModel } from '../../src/engine/io/export.ts'
import { saveTrained } from '../../trainers/adapters.ts'
import { decideResume, findCheckpoints, stepOfName } from '../../trainers/found-checkpoints.ts'
import { type TinyTraining, tinyTraining } from './tiny-training.ts'

describe('checkpoints that others wrote', () => {
  let tiny: TinyTraining
  beforeAll(() => {
    tiny = tinyTraining()
  })
  afterAll(() => tiny[Symbol.dispose]())

  function folderWith(...names: string[]): string {
    const folder = mkdtempSync(join(tiny.folder, 'found-'))
    for (const name of names) {
      mkdirSync(join(folder, name, '..'), { recursive: true })
      writeFileSync(join(folder, name), 'x')
    }
    return folder
  }

  it('are known by their names, and numbers that are no steps are not', () => {
    const names = [
      'adapters',
      'adapter_model',
      '0000100_adapters',
      'adapters_250',
      '300_adapters',
      'checkpoint-7',
      'model-00001-of-2',
      'mistral-7b',
      'tokenizer',
    ]
    expect(names.map(stepOfName)).toEqual([null, null, 100, 250, 300, 7, undefined, undefined, undefined])
    const folder = folderWith(
      '0000200_adapters.safetensors',
      '0000100_adapters.safetensors',
      'adapters.safetensors',
      'adapters_300.npz',
      'model-00001-of-00002.safetensors',
      'checkpoint-50/adapter_model.safetensors',
      'checkpoint-60/pytorch_model.bin',
      'step-10/state.json',
      'step-11/adapter.safetensors',
      'notes.txt',
    )
    expect(findCheckpoints(folder).map(({ name, step, kind }) => [name, step, kind])).toEqual([
      ['step-10', 10, 'shadow'],
      ['step-11', 11, 'unreadable'],
      ['checkpoint-50', 50, 'peft'],
      ['checkpoint-60', 60, 'unreadable'],
      ['0000100_adapters.safetensors', 100, 'mlx-lm'],
      ['0000200_adapters.safetensors', 200, 'mlx-lm'],
      ['adapters_300.npz', 300, 'unreadable'],
      ['adapters.safetensors', null, 'mlx-lm'],
    ])
    expect(findCheckpoints(join(folder, 'nowhere'))).toEqual([])
  })

  it('mean nothing, a step to go on from, or a finished training', () => {
    const decide = (...names: string[]): unknown => {
      const decision = decideResume(findCheckpoints(folderWith(...names)), 1000)
      return decision.state === 'none' ? 'none' : [decision.state, decision.from.name]
    }
    expect(decide()).toBe('none')
    expect(decide('0000100_adapters.npz')).toBe('none')
    expect(decide('0000100_adapters.safetensors', '0000200_adapters.safetensors')).toEqual([
      'resume',
      '0000200_adapters.safetensors',
    ])
    expect(decide('0001000_adapters.safetensors')).toEqual(['completed', '0001000_adapters.safetensors'])
    expect(decide('adapters.safetensors')).toEqual(['completed', 'adapters.safetensors'])
    expect(decide('adapters.safetensors', '0000899_adapters.safetensors')).toEqual([
      'resume',
      '0000899_adapters.safetensors',
    ])
    expect(decide('adapters.safetensors', '0000900_adapters.safetensors')).toEqual([
      'completed',
      'adapters.safetensors',
    ])
    const numbered = folderWith('0000250_adapters.safetensors')
    expect(decideResume(findCheckpoints(numbered), 1000)).toMatchObject({
      step: 250,
      remaining: 750,
      progress: 0.25,
    })
  })

  it('are gone on from: weights and step, with a word about the optimizer', async () => {
    const settings = { max_steps: 6, warmup_steps: 0 }
    const folder = mkdtempSync(join(tiny.folder, 'peers-'))
    const { workFolder } = await tiny.run({ ...settings, save_steps: 3, save_total_limit: null })
    // The adapter after three steps, in PEFT's and in mlx-lm's format.
    const { adapter } = await tiny.raw({ ...settings, max_steps: 6 }, { workFolder: join(folder, 'work') }, 3)
    const peft = join(folder, 'checkpoint-3')
    await saveTrained(folder, adapter, { name: 'base', path: tiny.modelPath })
    renameSync(join(folder, 'adapter'), peft)
    adapter.dispose()
    await exportModel({
      basePath: null,
      adapterFolder: peft,
      format: 'mlx-lm',
      outFolder: join(folder, 'mlx'),
    })
    renameSync(
      join(folder, 'mlx', 'adapters.safetensors'),
      join(folder, 'mlx', '0000003_adapters.safetensors'),
    )

    const fromPeft = await tiny.run({ ...settings, resume_from_checkpoint: folder })
    const fromMlx = await tiny.run({ ...settings, resume_from_checkpoint: join(folder, 'mlx') })
    for (const one of [fromPeft, fromMlx]) {
      expect({ from: one.resumedFrom, steps: one.steps }).toEqual({ from: 3, steps: 6 })
      expect(one.notes).toContainEqual(expect.stringContaining('AdamW starts anew at step 3'))
      expect(one.metrics.map(({ step }) => step)).toEqual([4, 5, 6])
    }
    expect(fromPeft.hash).toBe(fromMlx.hash)
    const first = fromPeft.metrics[0]
    const own = (await tiny.run({ ...settings, resume_from_checkpoint: join(workFolder, 'step-3') }))
      .metrics[3]
    // The same rows, weights and learning rate: the same loss in the first step.
    expect(first).toMatchObject({ step: 4, loss: own !== undefined && 'loss' in own ? own.loss : null })

    rmSync(join(folder, 'mlx', '0000003_adapters.safetensors'))
    await expect(tiny.run({ ...settings, resume_from_checkpoint: join(folder, 'mlx') })).rejects.toThrow(
      'There is no checkpoint',
    )
    await expect(tiny.run({ ...settings, lora_r: 8, resume_from_checkpoint: folder })).rejects.toThrow(
      'is another adapter: lora_r 16 → 8',
    )
  })

  it('that have reached the goal end a training before it begins', async () => {
    const folder = mkdtempSync(join(tiny.folder, 'complete-'))
    const { adapter } = await tiny.raw({ max_steps: 2 }, { workFolder: join(folder, 'work') })
    await saveTrained(folder, adapter, { name: 'base', path: tiny.modelPath })
    renameSync(join(folder, 'adapter'), join(folder, 'out'))
    const tensors = adapter.tensors()
    adapter.dispose()
    const result = await tiny.raw({ max_steps: 9, resume_from_checkpoint: join(folder, 'out') })
    expect(result).toMatchObject({ steps: 9, resumedFrom: 9, metrics: [], state: 'finished' })
    expect(result.adapter.tensors()).toEqual(tensors)
    expect(result.notes).toContainEqual('already complete at step 9')
    result.adapter.dispose()
  })
})
