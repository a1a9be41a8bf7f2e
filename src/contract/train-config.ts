/**
 * What a training is told. Names and meanings are those of TRL's SFTConfig, transformers' TrainingArguments and
 * PEFT's LoraConfig, so that a config can be carried over. A default stands here, or in lib/train-defaults.ts where the
 * engine's own `train` has the setting too.
 */
import { z } from 'zod'
import { trainDefaults } from '../lib/train-defaults.ts'

/** A count of optimizer steps, or a share of all steps below 1. */
const stepsOrShare = z
  .number()
  .positive()
  .refine(
    (value) => value < 1 || Number.isInteger(value),
    'must be a whole number of steps, or a share below 1',
  )

export const lossOn = z.enum(['final', 'assistant', 'all'])
export type LossOn = z.infer<typeof lossOn>

/** Which part of the training rows is held out to be evaluated on while training. */
const evalDataset = z.union([
  z.literal('auto'),
  z
    .string()
    .regex(/^\d+(\.\d+)?%$/, 'must be "auto", a percentage such as "15%", or a share such as 0.15')
    .refine(
      (text) => shareOfPercentage(text) > 0 && shareOfPercentage(text) < 1,
      'must lie between 0 and 100 %',
    ),
  z.number().gt(0).lt(1),
])

export const trainConfigFields = z.strictObject({
  /** The registered training method: `sft` learns answers of conversations, `cpt` raw text. */
  method: z.enum(['sft', 'cpt']).default('sft'),

  /** Tokens; a longer conversation is left out (the run says how many were), a longer text is cut into pieces. */
  max_length: z.number().int().positive().default(1024),
  /**
   * Rows are put together up to max_length and count as one row of a batch; none sees another. Null: as the method
   * does it (`cpt` packs, `sft` does not).
   */
  packing: z.boolean().nullable().default(null),
  /**
   * `assistant`: every assistant turn, weighted as its row says; `final`: the last of these alone; `all`: every token,
   * save those of assistant turns that the row gives no weight.
   */
  loss_on: lossOn.default('assistant'),

  /** `full`: every tensor of the base is trained, and the result is a model of its own. */
  adapter: z.enum(['lora', 'full']).default('lora'),
  lora_r: z.number().int().positive().default(trainDefaults.lora_r),
  /** The adapter is scaled by lora_alpha / lora_r. */
  lora_alpha: z.number().positive().default(trainDefaults.lora_alpha),
  lora_dropout: z.number().min(0).max(0.9).default(trainDefaults.lora_dropout),
  /** `all`: q, k, v, o, gate, up, down of every layer. */
  target_modules: z
    .union([z.enum(['all', 'attention', 'mlp']), z.array(z.string()).min(1)])
    .default(trainDefaults.target_modules),
  /** The adapter is scaled by lora_alpha / √lora_r instead. */
  use_rslora: z.boolean().default(false),
  /** Learn the length of each row of the sum apart from its direction (DoRA). */
  use_dora: z.boolean().default(false),
  /** Ranks of layers that differ from lora_r, by a regular expression for the end of their path. */
  rank_pattern: z.record(z.string(), z.number().int().positive()).default({}),
  /** Alphas of layers that differ from lora_alpha, likewise. */
  alpha_pattern: z.record(z.string(), z.number().positive()).default({}),

  /** Quantise the matrices of the base on load, in groups of 64 or by the file's own: QLoRA's smaller base. */
  load_in_4bit: z.boolean().default(false),
  load_in_8bit: z.boolean().default(false),
  /** Multiply in bfloat16, and round a base that is not quantised to it: half the memory, losses move by about 1e-4. */
  bf16: z.boolean().default(false),

  /** Null: the method's own. */
  learning_rate: z.number().positive().nullable().default(null),
  lr_scheduler_type: z.enum(['linear', 'cosine', 'constant']).default('linear'),
  /** Optimizer steps over which the learning rate rises. */
  warmup_steps: z.number().int().nonnegative().default(5),
  /** Overrides warmup_steps: a share of all steps. */
  warmup_ratio: z.number().min(0).max(1).nullable().default(null),
  /** `adamw_8bit` keeps the moments in 8 bits: a quarter of the memory. */
  optim: z.enum(['adamw_torch', 'adamw_8bit']).default('adamw_torch'),
  adam_beta1: z.number().min(0).lt(1).default(0.9),
  adam_beta2: z.number().min(0).lt(1).default(0.999),
  adam_epsilon: z.number().positive().default(1e-8),
  weight_decay: z.number().nonnegative().default(0),
  /** Null: gradients are not clipped. */
  max_grad_norm: z.number().positive().nullable().default(trainDefaults.max_grad_norm),

  /** Rows of one forward and backward pass, at most; `max_tokens_per_pass` may split them further. */
  per_device_train_batch_size: z.number().int().positive().default(trainDefaults.per_device_train_batch_size),
  /** An optimizer step takes this many times per_device_train_batch_size rows, weighted by token, not by pass. */
  gradient_accumulation_steps: z.number().int().positive().default(1),
  /** Tokens of one forward and backward pass; bounds memory, changes no result beyond rounding. */
  max_tokens_per_pass: z.number().int().positive().default(trainDefaults.max_tokens_per_pass),
  /** Keep each block's input alone and compute the block again in the backward pass: same bits, less memory, slower. */
  gradient_checkpointing: z.boolean().default(trainDefaults.gradient_checkpointing),
  /** Null, with max_steps null too: 60 steps. */
  num_train_epochs: z.number().positive().nullable().default(trainDefaults.num_train_epochs),
  /** Overrides num_train_epochs. */
  max_steps: z.number().int().positive().nullable().default(null),
  /** Initial adapter, order of rows, dropout, held-out part. */
  seed: z.number().int().nonnegative().default(trainDefaults.seed),

  /** Optimizer steps between two records of metrics; the last step is always recorded. */
  logging_steps: z.number().int().positive().default(1),
  /** `auto` holds out 10 %. Null: no evaluation. */
  eval_dataset: evalDataset.nullable().default(null),
  /** Null: a quarter of all steps. */
  eval_steps: stepsOrShare.nullable().default(null),
  /** Keep the checkpoint with the lowest evaluation loss, and end with it. */
  load_best_model_at_end: z.boolean().default(false),
  /** Stop after this many evaluations in a row without improvement. Null: never. */
  early_stopping_patience: z.number().int().positive().nullable().default(null),
  /** An evaluation loss must be lower than the best by more than this to count as improvement. */
  early_stopping_threshold: z.number().nonnegative().default(0),

  /** Optimizer steps between checkpoints. Null: only when the training ends or is stopped. */
  save_steps: stepsOrShare.nullable().default(10),
  /** Checkpoints kept, the newest first; the best one is kept beside them where it is asked for. Null: all. */
  save_total_limit: z.number().int().positive().nullable().default(1),
  /** A checkpoint folder to go on from, or a folder that holds checkpoints. */
  resume_from_checkpoint: z.string().min(1).nullable().default(null),
  /** Where else metrics go. Nowhere is possible yet, and the run says so. */
  report_to: z.array(z.enum(['wandb', 'tensorboard'])).default([]),
})

/** The share that "15%" stands for. */
export function shareOfPercentage(text: string): number {
  return Number(text.slice(0, -1)) / 100
}

function lossOnOr(other: LossOn, chosen: LossOn): (value: unknown) => Record<string, unknown> {
  return (value) => ({ loss_on: value === true ? chosen : value === false ? other : value })
}

/** Other names of the same settings: TRL's earlier ones, and its flags for what loss_on says in one word. */
const aliases: Readonly<Record<string, (value: unknown) => Record<string, unknown>>> = {
  max_seq_length: (value) => ({ max_length: value }),
  train_on_completions: lossOnOr('all', 'final'),
  completion_only_loss: lossOnOr('all', 'final'),
  assistant_only_loss: lossOnOr('all', 'assistant'),
}

/** A setting under its one name: `max_seq_length` becomes `max_length`. Others come back as they are. */
export function withoutAlias(name: string, value: unknown): Record<string, unknown> {
  return (Object.hasOwn(aliases, name) ? aliases[name]?.(value) : undefined) ?? { [name]: value }
}

export const trainConfig = z.preprocess((raw, context) => {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) return raw
  const given = Object.entries(raw).map(([name, value]) => [name, withoutAlias(name, value)] as const)
  const config: Record<string, unknown> = {}
  for (const [name, settings] of given) {
    for (const [key, value] of Object.entries(settings)) {
      if (Object.hasOwn(config, key) && config[key] !== value) {
        const message = `says something else than another name of ${key}`
        context.addIssue({ code: 'custom', path: [name], message, input: raw })
      }
      config[key] = value
    }
  }
  return config
}, trainConfigFields)
export type TrainConfig = z.infer<typeof trainConfigFields>
