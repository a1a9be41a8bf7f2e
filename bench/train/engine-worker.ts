/**
 * The engine as a contender of the training benchmark: one optimizer step for each line that stdin brings, lines of
 * JSON in return. A process of its own, so that its peak memory is the run's. Argument: the job's file.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { z } from 'zod'
import {
  AdamW,
  GradientAccumulator,
  loadLora,
  loadModel,
  LoraAdapter,
  lossAndGradients,
  passesOf,
  Runtime,
  saveLora,
  type TrainRow,
} from '../../src/engine/index.ts'
import { matmul } from '../../src/engine/tensor/ops.ts'
import { NativeClock } from './native-clock.ts'

const job = z
  .object({
    model: z.string(),
    adapter: z.string(),
    rows: z.array(z.object({ ids: z.array(z.number()), labels: z.array(z.number()) })),
    learningRate: z.number(),
    threads: z.number(),
    dtype: z.enum(['float32', 'bfloat16']),
    quantization: z.union([z.enum(['none', 'keep']), z.strictObject({ bits: z.literal([4, 8]) })]),
    gradientCheckpointing: z.boolean().default(false),
    maxTokensPerPass: z.number().optional(),
  })
  .parse(JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')))

const runtime = new Runtime({ threads: job.threads })
const clock = new NativeClock(runtime)
const { model } = loadModel(runtime, job.model, { dtype: job.dtype, quantization: job.quantization })
if (!existsSync(join(job.adapter, 'adapter_config.json'))) {
  const config = { r: 16, lora_alpha: 32, lora_dropout: 0, target_modules: 'all' } as const
  await saveLora(job.adapter, LoraAdapter.create(model, config, 2), job.model)
}
const adapter = loadLora(model, job.adapter)
const optimizer = new AdamW(runtime, adapter.parameters)
const batch = job.rows.map(
  ({ ids, labels }): TrainRow => ({
    ids: Int32Array.from(ids),
    targetWeights: Float32Array.from(labels, (label, t) => (label < 0 || t === 0 ? 0 : 1)),
  }),
)

const passes = passesOf(batch, job.maxTokensPerPass ?? Number.POSITIVE_INFINITY, 'tree')
const sums = new GradientAccumulator(runtime)

function step(): object {
  clock.reset()
  const start = performance.now()
  const { gradientCheckpointing } = job
  for (const pass of passes) sums.add(lossAndGradients(model, adapter, pass, { gradientCheckpointing }))
  const loss = sums.meanLoss
  optimizer.update(sums.gradients, job.learningRate, 1 / sums.weightSum)
  sums.reset()
  const elapsedMs = performance.now() - start
  return { seconds: elapsedMs / 1000, loss, jsShare: 1 - clock.nativeMs / elapsedMs }
}

/** GFLOP/s of a large f32 product, the best of a few tries. */
function sgemmPeak(): number {
  const n = 2048
  let best = 0
  for (let i = 0; i < 8; i++)
    runtime.tidy(() => {
      const a = runtime.full([n, n], 0.5)
      const b = runtime.full([n, n], 0.25)
      runtime.evaluate([a, b])
      const start = performance.now()
      runtime.evaluate([matmul(a, b)])
      best = Math.max(best, (2 * n ** 3) / (performance.now() - start) / 1e6)
    })
  return best
}

function peakBytes(): number {
  const highWater = /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
  return Number(highWater) * 1024
}

function answer(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

answer({ ready: true })
for await (const command of createInterface(process.stdin)) {
  if (command === 'step') answer(step())
  if (command === 'peaks') answer({ sgemm: sgemmPeak(), bf16: null })
  if (command === 'memory') answer({ peakBytes: peakBytes() })
}
