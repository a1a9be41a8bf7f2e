/** Train: an adapter from the dataset's rows, in a child process, resumed where a killed run had saved. */
import { join } from 'node:path'
import { z } from 'zod'
import { series } from '../../../trainers/curve.ts'
import { isTrainMetric, readMetricRecords } from '../../../trainers/metric-log.ts'
import { lossCurve, progressText } from '../../../trainers/training-line.ts'
import { hashFolder } from '../../lib/files.ts'
import { ShadowError } from '../../lib/error.ts'
import { hashBaseModel } from '../base-hash.ts'
import { findBaseModel } from '../models.ts'
import { runTraining } from '../training-process.ts'
import type { DatasetOutput } from './dataset.ts'
import type { RunContext } from './run-context.ts'
import type { StageResult, StageRunner } from './stage.ts'

const trainOutput = z.object({
  adapterHash: z.string(),
  steps: z.number(),
  firstLoss: z.number(),
  lastLoss: z.number(),
  /** The losses as one line of blocks. */
  curve: z.string(),
  lastEvalLoss: z.number().nullable(),
  tokensPerSecond: z.number(),
  peakMemoryBytes: z.number(),
  /** What a person should know about the rows that were left out, and the like. */
  notes: z.array(z.string()),
})
export type TrainOutput = z.infer<typeof trainOutput>

export async function train(
  context: RunContext,
  stages: StageRunner,
  dataset: StageResult<DatasetOutput>,
): Promise<StageResult<TrainOutput>> {
  const { config } = context.task
  const modelPath = findBaseModel(config.baseModel)
  if (config.train.adapter === 'full') {
    throw new ShadowError(
      'invalid_config',
      'A run makes adapters, which the server holds by name on one base.',
      {
        hint: 'Set train.adapter=lora; full fine-tuning is for trainings from the library.',
      },
    )
  }
  return await stages.run({
    name: 'train',
    inputs: {
      dataset: dataset.output.trainHash,
      base: await hashBaseModel(config.baseModel),
      config: config.train,
    },
    output: trainOutput,
    async run({ output, work }, progress) {
      const notes: string[] = []
      let evalLoss: number | null = null
      const { steps } = await runTraining(
        {
          baseModel: config.baseModel,
          modelPath,
          datasetPath: join(dataset.folder, 'train.jsonl'),
          config: config.train,
          workFolder: work,
          outputFolder: output,
        },
        (event) => {
          if (event.type === 'note') notes.push(event.text)
          if (event.type === 'eval') evalLoss = event.metric.eval_loss
          if (event.type !== 'step') return
          progress.update(event.metric.step, event.totalSteps, progressText(event.metric, evalLoss))
        },
        context.signal,
      )
      // Read back rather than listened to: a resumed training reports its later steps only.
      const records = readMetricRecords(join(output, 'metrics.ndjson'))
      const metrics = records.filter(isTrainMetric)
      const speeds = metrics.map((metric) => metric.tokens_per_s).toSorted((a, b) => a - b)
      return {
        adapterHash: await hashFolder(join(output, 'adapter')),
        steps,
        firstLoss: metrics[0]?.loss ?? Number.NaN,
        lastLoss: metrics.at(-1)?.loss ?? Number.NaN,
        tokensPerSecond: Math.round(speeds[Math.floor(speeds.length / 2)] ?? 0),
        peakMemoryBytes: 1e9 * Math.max(...metrics.map((metric) => metric.peak_mem_gb)),
        curve: lossCurve(records),
        lastEvalLoss: series(records, 'eval_loss').at(-1)?.[1] ?? null,
        notes,
      }
    },
    facts: (output) => ({
      steps: output.steps,
      loss: output.curve,
      ...(output.lastEvalLoss === null ? {} : { 'eval loss': output.lastEvalLoss.toFixed(3) }),
      'tokens/s': output.tokensPerSecond,
      'peak memory': `${(output.peakMemoryBytes / 1e9).toFixed(2)} GB`,
    }),
  })
}
