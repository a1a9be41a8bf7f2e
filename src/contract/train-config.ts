/**
 * What a training is told. Names and meanings are those of TRL's SFTConfig and PEFT's LoraConfig, so that
 * a config can be carried over; this schema is the only place where a default stands.
 */
import { z } from 'zod'

export const trainConfig = z.strictObject({
  /** The registered training method. */
  method: z.literal('sft').default('sft'),
  /** Tokens; a longer row is left out, and the run says how many were. */
  max_length: z.number().int().positive().default(1024),
  lora_r: z.number().int().positive().default(16),
  /** The adapter is scaled by lora_alpha / lora_r. */
  lora_alpha: z.number().positive().default(32),
  lora_dropout: z.number().min(0).max(0.9).default(0),
  /** `all`: q, k, v, o, gate, up, down of every layer. */
  target_modules: z.union([z.enum(['all', 'attention', 'mlp']), z.array(z.string()).min(1)]).default('all'),
  learning_rate: z.number().positive().default(1e-3),
  lr_scheduler_type: z.enum(['linear', 'cosine', 'constant']).default('linear'),
  warmup_ratio: z.number().min(0).max(1).default(0.05),
  weight_decay: z.number().nonnegative().default(0),
  max_grad_norm: z.number().positive().nullable().default(1),
  /** Rows of one optimizer step. They are laid out in as many passes as `max_tokens_per_pass` asks for. */
  train_batch_size: z.number().int().positive().default(16),
  /** Tokens of one forward and backward pass; bounds memory, changes no result beyond rounding. */
  max_tokens_per_pass: z.number().int().positive().default(1024),
  num_train_epochs: z.number().positive().default(3),
  /** Overrides num_train_epochs. */
  max_steps: z.number().int().positive().nullable().default(null),
  /** Optimizer steps between checkpoints. */
  save_steps: z.number().int().positive().default(10),
  seed: z.number().int().nonnegative().default(3407),
})
export type TrainConfig = z.infer<typeof trainConfig>
