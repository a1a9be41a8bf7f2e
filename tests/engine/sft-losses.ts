/** The training that tests/fixtures/scripts/sft.py ran with TRL and PEFT, on the default model. */
import { z } from 'zod'
import { trainConfig } from '../../src/contract/train-config.ts'
import {
  AdamW,
  clipScale,
  GradientAccumulator,
  loadModel,
  LoraAdapter,
  lossAndGradients,
  Runtime,
} from '../../src/engine/index.ts'
import { defaultModelPath } from '../../src/setup/model.mjs'
import { learningRateAt } from '../../trainers/schedule.ts'
import { fixture } from './default-model.ts'
import { pseudoRandom } from './pseudo-random.ts'

const reference = z.object({
  lora: z.object({ r: z.number(), lora_alpha: z.number() }),
  learningRate: z.number(),
  weightDecay: z.number(),
  rowsPerStep: z.number(),
  rows: z.array(z.object({ ids: z.array(z.number()), mask: z.array(z.number()) })),
  losses: z.array(z.number()),
})

/** The loss of each of the first `steps` steps: TRL's, and ours. */
export function sftLosses(steps: number): { theirs: number[]; ours: number[] } {
  const run = reference.parse(fixture('sft'))
  const runtime = new Runtime()
  const { model } = loadModel(runtime, defaultModelPath())
  const config = { ...run.lora, lora_dropout: 0, target_modules: 'all' } as const
  const adapter = LoraAdapter.fromTensors(
    model,
    config,
    new Map(
      [...LoraAdapter.create(model, config, 0).tensors()].map(([name, { shape, data }], index) => [
        name,
        // A and B in turn: the place among the layers is the seed.
        {
          shape,
          data: name.includes('lora_A')
            ? pseudoRandom(data.length, index / 2, 1 / Math.sqrt(shape[1] ?? 1))
            : data,
        },
      ]),
    ),
  )
  const schedule = trainConfig.parse({ lr_scheduler_type: 'linear', warmup_steps: 0 })
  const optimizer = new AdamW(runtime, adapter.parameters, { weightDecay: run.weightDecay })
  const sums = new GradientAccumulator(runtime)
  const ours = Array.from({ length: steps }, (_, step) => {
    const rows = run.rows.slice(step * run.rowsPerStep, (step + 1) * run.rowsPerStep)
    for (const { ids, mask } of rows)
      sums.add(
        lossAndGradients(model, adapter, [
          { ids: Int32Array.from(ids), targetWeights: Float32Array.from(mask) },
        ]),
      )
    const loss = sums.meanLoss
    const rate = learningRateAt(schedule, run.learningRate, step, run.losses.length)
    optimizer.update(sums.gradients, rate, clipScale(sums.meanGradientNorm, 1) / sums.weightSum)
    sums.reset()
    return loss
  })
  for (const part of [optimizer, adapter, model]) part.dispose()
  return { theirs: run.losses.slice(0, steps), ours }
}

/** The largest |ours / theirs − 1|. */
export function worstLoss({ theirs, ours }: { theirs: number[]; ours: number[] }): number {
  return Math.max(...theirs.map((loss, step) => Math.abs((ours[step] ?? Number.NaN) / loss - 1)))
}
