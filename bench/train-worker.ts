/**
 * The measured process of the training benchmark: SmolLM2-135M's shape with seeded random weights, LoRA r=16 on
 * all linear layers, f32. Prints one line of JSON. A process of its own, so that its peak memory is the run's.
 */
import { readFileSync } from 'node:fs'
import { median } from './row.ts'
import { matmul } from '../src/engine/tensor/ops.ts'
import {
  AdamW,
  LlamaForCausalLM,
  LoraAdapter,
  lossAndGradients,
  Runtime,
  type TrainRow,
} from '../src/engine/index.ts'

const smolLm2 = {
  vocab_size: 49152,
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  rms_norm_eps: 1e-5,
  rope_theta: 100_000,
  max_position_embeddings: 8192,
  tie_word_embeddings: true,
} as const

const [rows = 8, length = 128] = process.argv.slice(2).map(Number)
const warmUp = 2
const measured = 5

/** GFLOP/s of a large f32 product, the best of a few tries. */
function sgemmPeak(runtime: Runtime): number {
  const n = 2048
  let best = 0
  for (let i = 0; i < 6; i++) {
    runtime.tidy(() => {
      const a = runtime.full([n, n], 0.5)
      const b = runtime.full([n, n], 0.25)
      runtime.evaluate([a, b])
      const start = performance.now()
      runtime.evaluate([matmul(a, b)])
      best = Math.max(best, (2 * n ** 3) / (performance.now() - start) / 1e6)
    })
  }
  return best
}

/** Fixed ids; every token but the first of a row carries loss. */
function fixedBatch(): TrainRow[] {
  return Array.from({ length: rows }, (_, row) => ({
    ids: Int32Array.from({ length }, (_, t) => (row * 7919 + t * 104_729 + 13) % smolLm2.vocab_size),
    targetWeights: Float32Array.from({ length }, (_, t) => (t === 0 ? 0 : 1)),
  }))
}

const runtime = new Runtime()
const peakBefore = sgemmPeak(runtime)
const model = LlamaForCausalLM.random(runtime, smolLm2, 1)
const adapter = LoraAdapter.create(
  model,
  { r: 16, lora_alpha: 32, lora_dropout: 0, target_modules: 'all' },
  2,
)
const optimizer = new AdamW(runtime, adapter.parameters)
const batch = fixedBatch()
const losses: number[] = []
const stepSeconds: number[] = []
for (let step = 0; step < warmUp + measured; step++) {
  const start = performance.now()
  const { lossSum, weightSum, gradients } = lossAndGradients(model, adapter, batch)
  optimizer.update(gradients, 1e-3, 1 / weightSum)
  for (const gradient of gradients) gradient.dispose()
  if (step >= warmUp) stepSeconds.push((performance.now() - start) / 1000)
  losses.push(lossSum / weightSum)
}
const peakAfter = sgemmPeak(runtime)
const highWater = /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
console.log(
  JSON.stringify({
    tokens: rows * length,
    stepSeconds: median(stepSeconds),
    sgemmGflops: Math.max(peakBefore, peakAfter),
    peakBytes: Number(highWater) * 1024,
    enginePeakBytes: runtime.memory().peakBytes,
    threads: runtime.threads,
    losses,
  }),
)
