/** What a run and its training child tell each other over the process channel. */
import { z } from 'zod'
import { evalMetric, trainMetric } from '../src/contract/run.ts'
import { trainConfig } from '../src/contract/train-config.ts'

export const trainJob = z.object({
  /** As the adapter's config names it. */
  baseModel: z.string(),
  modelPath: z.string(),
  /** JSONL of TrainingRow. */
  datasetPath: z.string(),
  config: trainConfig,
  /** Checkpoints and metrics live here until the training is done. */
  workFolder: z.string(),
  /** Receives the adapter in PEFT's format, and metrics.ndjson. */
  outputFolder: z.string(),
})
export type TrainJob = z.infer<typeof trainJob>

export const trainCommand = z.discriminatedUnion('type', [
  z.object({ type: z.literal('start'), job: trainJob }),
  /** Finish the step under way, save, and end. */
  z.object({ type: z.literal('stop') }),
])
export type TrainCommand = z.infer<typeof trainCommand>

export const trainEvent = z.discriminatedUnion('type', [
  z.object({ type: z.literal('step'), totalSteps: z.number(), metric: trainMetric }),
  z.object({ type: z.literal('eval'), metric: evalMetric }),
  z.object({ type: z.literal('note'), text: z.string() }),
  z.object({ type: z.literal('done'), steps: z.number(), resumedFrom: z.number() }),
  z.object({ type: z.literal('stopped'), step: z.number() }),
  z.object({ type: z.literal('failed'), code: z.string(), message: z.string(), hint: z.string().nullable() }),
])
export type TrainEvent = z.infer<typeof trainEvent>
