/**
 * How many steps a training takes, when it evaluates and saves, and its learning rates: those of
 * transformers' `get_*_schedule_with_warmup`, so that a run can be laid beside one of TRL step by step.
 */
import type { TrainConfig } from '../src/contract/train-config.ts'

/** What a training takes where neither epochs nor steps are set. */
const stepsWithoutGoal = 60

/** Rows of one optimizer step. */
export function rowsPerStep(config: TrainConfig): number {
  return config.per_device_train_batch_size * config.gradient_accumulation_steps
}

/** How many optimizer steps a training takes: max_steps, else the epochs' worth of batches, at least one. */
export function totalSteps(config: TrainConfig, rows: number): number {
  if (config.max_steps !== null) return config.max_steps
  if (config.num_train_epochs === null) return stepsWithoutGoal
  return Math.max(1, Math.ceil((config.num_train_epochs * rows) / rowsPerStep(config)))
}

/** A number of steps; a share below 1 is one of `total`, rounded up, as transformers does it. */
export function stepsOf(stepsOrShare: number, total: number): number {
  return stepsOrShare < 1 ? Math.max(1, Math.ceil(stepsOrShare * total)) : stepsOrShare
}

/** Optimizer steps between two evaluations. */
export function evaluationInterval(config: TrainConfig, total: number): number {
  return config.eval_steps === null ? Math.max(1, Math.floor(total / 4)) : stepsOf(config.eval_steps, total)
}

/** Optimizer steps over which the learning rate rises. */
export function warmupSteps(config: TrainConfig, total: number): number {
  return config.warmup_ratio === null ? config.warmup_steps : Math.ceil(config.warmup_ratio * total)
}

/**
 * The learning rate of optimizer step `step`, counted from 0. It rises linearly over the warm-up, from zero in the
 * first step, then stays, falls linearly, or along half a cosine, towards zero.
 * @param peak what the warm-up rises to
 */
export function learningRateAt(config: TrainConfig, peak: number, step: number, total: number): number {
  const warmup = warmupSteps(config, total)
  if (step < warmup) return (peak * step) / warmup
  const progress = total <= warmup ? 0 : (step - warmup) / (total - warmup)
  switch (config.lr_scheduler_type) {
    case 'constant':
      return peak
    case 'linear':
      return peak * (1 - progress)
    case 'cosine':
      return peak * 0.5 * (1 + Math.cos(Math.PI * progress))
  }
}
