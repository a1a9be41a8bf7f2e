import { readdirSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ZodError } from 'zod'
import type { TrainingRow } from '../../src/contract/dataset.ts'
import { type TrainConfig, trainConfig, trainConfigFields } from '../../src/contract/train-config.ts'
import { taskConfig } from '../../src/contract/task.ts'
import { LlamaForCausalLM, Runtime } from '../../src/engine/index.ts'
import { ShadowError } from '../../src/lib/error.ts'
import { applySettings } from '../../src/ops/task-settings.ts'
import { methods } from '../../trainers/registry.ts'
import { texts, timeless, type TinyTraining, tinyTraining } from './tiny-training.ts'

/** For every setting another value than in `beside`, and what has to be set for it to matter. */
const changes: Record<keyof TrainConfig, { to: unknown; beside?: Record<string, unknown> }> = {
  method: { to: 'cpt' },
  max_length: { to: 8 },
  packing: { to: true },
  loss_on: { to: 'final' },
  adapter: { to: 'full' },
  load_in_4bit: { to: true },
  load_in_8bit: { to: true },
  bf16: { to: true },
  lora_r: { to: 4 },
  lora_alpha: { to: 8 },
  lora_dropout: { to: 0.3 },
  target_modules: { to: 'mlp' },
  use_rslora: { to: true },
  use_dora: { to: true },
  rank_pattern: { to: { q_proj: 2 } },
  alpha_pattern: { to: { 'layers.0.self_attn.q_proj': 1 } },
  learning_rate: { to: 0.02 },
  lr_scheduler_type: { to: 'cosine', beside: { warmup_steps: 0 } },
  warmup_steps: { to: 0 },
  warmup_ratio: { to: 0.5 },
  optim: { to: 'sgd' },
  adam_beta1: { to: 0.5 },
  adam_beta2: { to: 0.9 },
  adam_epsilon: { to: 1e-3 },
  weight_decay: { to: 0.5 },
  max_grad_norm: { to: 0.001, beside: { adam_epsilon: 0.01 } },
  per_device_train_batch_size: { to: 3 },
  gradient_accumulation_steps: { to: 2 },
  max_tokens_per_pass: { to: 16 },
  gradient_checkpointing: { to: true },
  num_train_epochs: { to: 2, beside: { max_steps: null } },
  max_steps: { to: 3 },
  seed: { to: 1 },
  logging_steps: { to: 2 },
  eval_dataset: { to: '34%' },
  eval_steps: { to: 2, beside: { eval_dataset: 'auto' } },
  load_best_model_at_end: { to: true, beside: { eval_dataset: 'auto', learning_rate: 1, warmup_steps: 2 } },
  early_stopping_patience: { to: 1, beside: { eval_dataset: 'auto', learning_rate: 1, warmup_steps: 2 } },
  early_stopping_threshold: { to: 10, beside: { eval_dataset: 'auto', early_stopping_patience: 1 } },
  save_steps: { to: 2, beside: { save_total_limit: null } },
  save_total_limit: { to: 2, beside: { save_steps: 1 } },
  resume_from_checkpoint: { to: 'no-such-folder' },
  report_to: { to: ['wandb'] },
}

const refusals: ReadonlySet<string> = new Set(['invalid_config', 'invalid_request', 'not_found'])

describe('settings of a training', () => {
  let tiny: TinyTraining
  beforeAll(() => {
    tiny = tinyTraining()
  })
  afterAll(() => tiny[Symbol.dispose]())

  async function observe(settings: Record<string, unknown>): Promise<Record<string, unknown>> {
    try {
      const { hash, metrics, notes, workFolder } = await tiny.run(settings)
      return { hash, metrics: timeless(metrics), notes, files: readdirSync(workFolder).toSorted() }
    } catch (error) {
      if (error instanceof ShadowError && refusals.has(error.code)) return { refused: error.message }
      if (error instanceof ZodError) return { refused: error.message }
      throw error
    }
  }

  it('have one default each', () => {
    expect(trainConfigFields.parse({})).toMatchInlineSnapshot(`
      {
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "adam_epsilon": 1e-8,
        "adapter": "lora",
        "alpha_pattern": {},
        "bf16": false,
        "early_stopping_patience": null,
        "early_stopping_threshold": 0,
        "eval_dataset": null,
        "eval_steps": null,
        "gradient_accumulation_steps": 1,
        "gradient_checkpointing": false,
        "learning_rate": null,
        "load_best_model_at_end": false,
        "load_in_4bit": false,
        "load_in_8bit": false,
        "logging_steps": 1,
        "lora_alpha": 32,
        "lora_dropout": 0,
        "lora_r": 16,
        "loss_on": "assistant",
        "lr_scheduler_type": "linear",
        "max_grad_norm": 1,
        "max_length": 1024,
        "max_steps": null,
        "max_tokens_per_pass": 1024,
        "method": "sft",
        "num_train_epochs": 3,
        "optim": "adamw_torch",
        "packing": null,
        "per_device_train_batch_size": 16,
        "rank_pattern": {},
        "report_to": [],
        "resume_from_checkpoint": null,
        "save_steps": 10,
        "save_total_limit": 1,
        "seed": 3407,
        "target_modules": "all",
        "use_dora": false,
        "use_rslora": false,
        "warmup_ratio": null,
        "warmup_steps": 5,
        "weight_decay": 0,
      }
    `)
  })

  it('are each honoured, refused or said', { timeout: 240_000 }, async () => {
    expect(Object.keys(changes).toSorted()).toEqual(Object.keys(trainConfigFields.shape).toSorted())
    const silent: string[] = []
    const plain = await observe({})
    for (const [name, { to, beside = {} }] of Object.entries(changes)) {
      const before = Object.keys(beside).length === 0 ? plain : await observe(beside)
      const after = await observe({ ...beside, [name]: to })
      if (JSON.stringify(before) === JSON.stringify(after)) silent.push(name)
      expect(before, name).toHaveProperty('hash')
    }
    // Its results are the same to the last bit; what it is for has a test of its own.
    expect(silent).toEqual(['gradient_checkpointing'])
  })

  it('of which gradient_checkpointing changes the memory of a step, and no bit of the adapter', async () => {
    const runtime = new Runtime()
    const model = LlamaForCausalLM.random(
      runtime,
      {
        vocab_size: tiny.model.vocabularySize,
        hidden_size: 48,
        intermediate_size: 96,
        num_hidden_layers: 12,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000,
        max_position_embeddings: 512,
        tie_word_embeddings: true,
      },
      5,
    )
    const rows: TrainingRow[] = [{ text: 'Tickets wait for an answer. '.repeat(15) }]
    const outcome = async (gradient_checkpointing: boolean) => {
      const before = runtime.memory().activeBytes
      runtime.native.resetPeakMemory()
      const settings = { method: 'cpt', gradient_checkpointing, max_steps: 2 }
      const { hash } = await tiny.run(settings, { model, rows })
      return { hash, bytes: runtime.memory().peakBytes - before }
    }
    const [kept, again] = [await outcome(false), await outcome(true)]
    expect(again.hash).toBe(kept.hash)
    expect(again.bytes).toBeLessThan(kept.bytes / 2)
  })

  it('that do nothing in a training are said by name', async () => {
    const idle: Record<string, unknown> = {
      report_to: ['wandb', 'tensorboard'],
      eval_steps: 3,
      early_stopping_threshold: 0.1,
      warmup_steps: 2,
      warmup_ratio: 0.5,
      num_train_epochs: 2,
    }
    const { notes } = await tiny.run(idle)
    for (const name of [
      'report_to',
      'eval_steps',
      'early_stopping_threshold',
      'warmup_steps',
      'num_train_epochs',
    ])
      expect(notes).toContainEqual(expect.stringMatching(new RegExp(`^${name} has no effect: `)))
    const onText = await tiny.run({ method: 'cpt', loss_on: 'all' }, { rows: texts(4) })
    expect(onText.notes).toContainEqual('loss_on has no effect: cpt learns every token')
    expect((await tiny.run({ max_length: 512 })).notes).toEqual([])
    await expect(tiny.run({ early_stopping_patience: 2 })).rejects.toThrow('needs an evaluation')
    await expect(tiny.run({ load_best_model_at_end: true })).rejects.toThrow('needs an evaluation')
  })

  it('come under their other names too, and contradictions are refused', () => {
    expect(trainConfig.parse({ max_seq_length: 64 }).max_length).toBe(64)
    expect(trainConfig.parse({ train_on_completions: true }).loss_on).toBe('final')
    expect(trainConfig.parse({ assistant_only_loss: false }).loss_on).toBe('all')
    expect(trainConfig.safeParse({ max_seq_length: 64, max_length: 32 }).error?.issues[0]?.path).toEqual([
      'max_length',
    ])
    expect(trainConfig.safeParse({ lora_rank: 8 }).success).toBe(false)
    const settings = applySettings(taskConfig.parse({}), [
      'train.max_seq_length=64',
      'train.completion_only_loss=true',
    ])
    expect(settings.train).toMatchObject({ max_length: 64, loss_on: 'final' })
  })

  it('have the learning rate of their method where none is set', async () => {
    const { metrics } = await tiny.run({
      learning_rate: null,
      warmup_steps: 0,
      lr_scheduler_type: 'constant',
    })
    expect(metrics[0]).toMatchObject({ lr: methods.sft.learningRate.lora })
  })

  it('take an evaluation part as auto, a percentage or a share', () => {
    for (const eval_dataset of ['auto', '15%', 0.15, null])
      expect(trainConfig.parse({ eval_dataset }).eval_dataset).toBe(eval_dataset)
    for (const eval_dataset of ['abc', 1.5, 0, 1, '0%', '100%', '15', -0.1])
      expect(trainConfig.safeParse({ eval_dataset }).success, String(eval_dataset)).toBe(false)
  })
})
