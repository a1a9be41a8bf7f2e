/**
 * Learning rates over a training: transformers' `get_*_schedule_with_warmup`, but for the warm-up, whose first step
 * is above zero here.
 */
import type { TrainConfig } from '../src/contract/train-config.ts'

/** How many optimizer steps a training takes: max_steps, else the epochs' worth of batches, at least one. */
export function totalSteps(config: TrainConfig, rows: number): number {
  if (config.max_steps !== null) return config.max_steps
  return Math.max(1, Math.ceil((config.num_train_epochs * rows) / config.train_batch_size))
}

/**
 * The learning rate of optimizer step `step`, counted from 0. It rises linearly over the warm-up, the first
 * step of which is already above zero, then stays, falls linearly, or along half a cosine, towards zero.
 */
export function learningRateAt(config: TrainConfig, step: number, total: number): number {
  const warmup = Math.round(config.warmup_ratio * total)
  if (step < warmup) return (config.learning_rate * (step + 1)) / (warmup + 1)
  const progress = total === warmup ? 0 : (step - warmup) / (total - warmup)
  switch (config.lr_scheduler_type) {
    case 'constant':
      return config.learning_rate
    case 'linear':
      return config.learning_rate * (1 - progress)
    case 'cosine':
      return config.learning_rate * 0.5 * (1 + Math.cos(Math.PI * progress))
  }
}
