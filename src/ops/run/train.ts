/** Train: an adapter from the dataset's rows, in a child process, resumed where a killed run had saved. */
import { join } from 'node:path'
import { z } from 'zod'
import { ShadowError } from '../../lib/error.ts'
import { hashFile, hashFolder } from '../../lib/files.ts'
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
  tokensPerSecond: z.number(),
  peakMemoryBytes: z.number(),
})
export type TrainOutput = z.infer<typeof trainOutput>

export async function train(
  context: RunContext,
  stages: StageRunner,
  dataset: StageResult<DatasetOutput>,
): Promise<StageResult<TrainOutput>> {
  const { config } = context.task
  const modelPath = findBaseModel(config.baseModel)
  return await stages.run({
    name: 'train',
    inputs: { dataset: dataset.output.trainHash, base: await hashFile(modelPath), config: config.train },
    output: trainOutput,
    async run({ output, work }, progress) {
      const losses: number[] = []
      const speeds: number[] = []
      let peakMemoryBytes = 0
      const { steps } = await runTraining(
        {
          baseModel: config.baseModel,
          modelPath,
          datasetPath: join(dataset.folder, 'train.jsonl'),
          datasetHash: dataset.output.trainHash,
          config: config.train,
          workFolder: work,
          outputFolder: output,
        },
        (event) => {
          if (event.type === 'note') progress.update(0, 0, event.text)
          if (event.type !== 'step') return
          const { step, loss, tokens_per_second, peak_memory_bytes } = event.metric
          losses.push(loss)
          speeds.push(tokens_per_second)
          peakMemoryBytes = Math.max(peakMemoryBytes, peak_memory_bytes)
          const speed = `loss ${loss.toFixed(4)}, ${Math.round(tokens_per_second)} tokens/s`
          progress.update(step, event.totalSteps, speed)
        },
        context.signal,
      )
      const lastLoss = losses.at(-1)
      if (lastLoss === undefined) throw new ShadowError('engine_failed', 'The training reported no step.')
      return {
        adapterHash: await hashFolder(join(output, 'adapter')),
        steps,
        firstLoss: losses[0] ?? lastLoss,
        lastLoss,
        tokensPerSecond: Math.round(speeds.toSorted((a, b) => a - b)[Math.floor(speeds.length / 2)] ?? 0),
        peakMemoryBytes,
      }
    },
    facts: (output) => ({
      steps: output.steps,
      loss: `${output.firstLoss.toFixed(3)} → ${output.lastLoss.toFixed(3)}`,
      'tokens/s': output.tokensPerSecond,
      'peak memory': `${(output.peakMemoryBytes / 1e9).toFixed(2)} GB`,
    }),
  })
}
