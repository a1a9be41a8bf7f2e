/** Evaluate: every contender answers the held-out calls; the owned one exactly as it would serve. */
import { join } from 'node:path'
import { z } from 'zod'
import { capturedFrontier, type Evaluated, evaluate as compare } from '../../../judge/evaluate.ts'
import { examplesOf, nearestNeighbour } from '../../../judge/nearest-neighbour.ts'
import { scorers } from '../../../judge/scorers/registry.ts'
import { datasetRow, heldOutRow } from '../../contract/dataset.ts'
import { evaluatedRow, evaluation } from '../../contract/evaluation.ts'
import { readJsonLines, toJsonLines, writeFileAtomically } from '../../lib/files.ts'
import { hashBaseModel } from '../base-hash.ts'
import { findBaseModel } from '../models.ts'
import { servedSampler } from '../serving/served-sampler.ts'
import { ServingProcess } from '../serving/serving-process.ts'
import type { DatasetOutput } from './dataset.ts'
import type { RunContext } from './run-context.ts'
import type { StageResult, StageRunner } from './stage.ts'
import type { TrainOutput } from './train.ts'

const evaluateOutput = z.object({
  evaluation,
  /** Held-out calls that the owned model's server refused to answer. */
  unanswered: z.number(),
})
export type EvaluateOutput = z.infer<typeof evaluateOutput>

export async function evaluate(
  context: RunContext,
  stages: StageRunner,
  earlier: { dataset: StageResult<DatasetOutput>; trained: StageResult<TrainOutput> },
): Promise<StageResult<EvaluateOutput>> {
  const { config } = context.task
  const { dataset, trained } = earlier
  return await stages.run({
    name: 'evaluate',
    inputs: {
      heldOut: dataset.output.heldOutHash,
      train: dataset.output.trainHash,
      adapter: trained.output.adapterHash,
      base: await hashBaseModel(config.baseModel),
      scorer: config.scorer,
      confidence: config.gate.confidence,
      serve: config.serve,
    },
    output: evaluateOutput,
    async run({ output }, progress) {
      const rows = await readJsonLines(join(dataset.folder, 'held-out.jsonl'), (value) =>
        heldOutRow.parse(value),
      )
      const trainRows = await readJsonLines(join(dataset.folder, 'train.jsonl'), (value) =>
        datasetRow.parse(value),
      )
      await using serving = await ServingProcess.start({
        modelPath: findBaseModel(config.baseModel),
        models: [
          { name: 'base', adapterPath: null, policy: config.serve },
          { name: 'owned', adapterPath: join(trained.folder, 'adapter'), policy: config.serve },
        ],
      })
      const owned = servedSampler(serving.socketPath, 'owned')
      const result = await compare({
        rows,
        contenders: {
          base: servedSampler(serving.socketPath, 'base'),
          nearest: nearestNeighbour(examplesOf(trainRows)),
          frontier: capturedFrontier,
          owned,
        },
        scorer: scorers[config.scorer],
        confidence: config.gate.confidence,
        signal: context.signal,
        onProgress: ({ contender, done, total }) => progress.update(done, total, contender),
      })
      await writeFileAtomically(join(output, 'held-out.jsonl'), toJsonLines(result.rows))
      return { evaluation: result.evaluation, unanswered: owned.refused() }
    },
    facts: ({ evaluation: { calls, sessions, scores } }) => ({
      'held-out calls': calls,
      sessions,
      base: percent(scores.base.mean),
      'nearest neighbour': percent(scores.nearest.mean),
      frontier: percent(scores.frontier.mean),
      owned: percent(scores.owned.mean),
    }),
  })
}

export async function readEvaluated(stage: StageResult<EvaluateOutput>): Promise<Evaluated> {
  const rows = await readJsonLines(join(stage.folder, 'held-out.jsonl'), (value) => evaluatedRow.parse(value))
  return { rows, evaluation: stage.output.evaluation }
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`
}
