/** One `shadow run`: its stages, and the training inside it. */
import { z } from 'zod'
import { servePolicy } from './task.ts'

export const stageName = z.enum([
  'collect',
  'split',
  'group',
  'judge',
  'dataset',
  'train',
  'evaluate',
  'gate',
  'promote',
])
export type StageName = z.infer<typeof stageName>

/** The optimizer steps since the last record, as a line of metrics.ndjson. */
export const trainMetric = z.strictObject({
  /** Optimizer steps done. */
  step: z.number().int(),
  epoch: z.number(),
  /** Mean NLL in nats over the steps' target tokens. */
  loss: z.number(),
  /** Learning rate of the last of the steps. */
  lr: z.number(),
  /** Of the last of the steps, before clipping. */
  grad_norm: z.number(),
  /** Tokens that carried loss. */
  target_tokens: z.number().int(),
  /** Tokens computed since the training began: a prefix that rows of a pass share counts once; nothing is padded. */
  tokens: z.number().int(),
  tokens_per_s: z.number(),
  /** Tokens computed, as a share of the tokens of all rows. */
  unique_token_ratio: z.number(),
  /** Time spent training, without the pauses between a stop and its resumption. */
  elapsed_s: z.number(),
  /** The training process's peak resident memory, in 10⁹ bytes. */
  peak_mem_gb: z.number(),
})
export type TrainMetric = z.infer<typeof trainMetric>

/** An evaluation, as a line of metrics.ndjson. */
export const evalMetric = z.strictObject({
  step: z.number().int(),
  epoch: z.number(),
  /** Mean NLL in nats over the target tokens of the held-out rows. */
  eval_loss: z.number(),
  elapsed_s: z.number(),
})
export type EvalMetric = z.infer<typeof evalMetric>

export const metricRecord = z.union([trainMetric, evalMetric])
export type MetricRecord = z.infer<typeof metricRecord>

export const runState = z.enum(['running', 'succeeded', 'failed', 'stopped'])
export type RunState = z.infer<typeof runState>

export const runRecord = z.object({
  id: z.string(),
  task: z.string(),
  state: runState,
  stage: stageName,
  startedAt: z.number(),
  finishedAt: z.number().nullable(),
  error: z.string().nullable(),
  version: z.string().nullable(),
  reportPath: z.string().nullable(),
})
export type RunRecord = z.infer<typeof runRecord>

/** What answers for a task: base + adapter, with the evidence for it. */
export const modelVersion = z.object({
  task: z.string(),
  number: z.number().int().positive(),
  baseModel: z.string(),
  /** SHA-256 of the base model's file. */
  baseHash: z.string(),
  /** Folder in PEFT's format, relative to SHADOW_HOME. */
  adapterPath: z.string(),
  adapterHash: z.string(),
  /** How it was evaluated, and therefore how it serves. */
  servePolicy,
  servingHash: z.string(),
  createdAt: z.number(),
  promoted: z.boolean(),
  sentence: z.string(),
})
export type ModelVersion = z.infer<typeof modelVersion>
