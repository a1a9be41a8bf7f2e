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

/** One optimizer step, as a line of metrics.ndjson. */
export const trainMetric = z.object({
  step: z.number().int(),
  epoch: z.number(),
  /** Mean NLL in nats over the step's target tokens. */
  loss: z.number(),
  learning_rate: z.number(),
  grad_norm: z.number(),
  /** Tokens that carried loss. */
  target_tokens: z.number().int(),
  /** Tokens that were computed, padding left out. */
  tokens: z.number().int(),
  /** Tokens that were computed, over those of the step's rows: below 1 where rows share prefixes. */
  unique_token_ratio: z.number(),
  tokens_per_second: z.number(),
  elapsed_s: z.number(),
  peak_memory_bytes: z.number(),
})
export type TrainMetric = z.infer<typeof trainMetric>

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
