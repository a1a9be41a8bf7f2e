/**
 * The measured process of the leak benchmark: `leak-worker.ts SHAPE STEPS` takes optimizer steps of 2 rows of 32 tokens
 * and prints, as a line of JSON, what memory is in use after 50 of them and at the end. Run with --expose-gc, so that
 * garbage that JavaScript has not collected yet is not counted.
 */
import {
  AdamW,
  clipScale,
  GradientAccumulator,
  LlamaForCausalLM,
  LoraAdapter,
  lossAndGradients,
  Runtime,
  type TrainRow,
} from '../src/engine/index.ts'
import { seededRandom } from '../src/lib/random.ts'
import { smolLm2 } from './smollm2-shape.ts'

const tiny = {
  ...smolLm2,
  vocab_size: 512,
  hidden_size: 48,
  intermediate_size: 96,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
}
const settled = 50
const [shape = 'tiny', steps = '1000'] = process.argv.slice(2)
const config = shape === 'tiny' ? tiny : smolLm2

const runtime = new Runtime()
const model = LlamaForCausalLM.random(runtime, config, 1)
const lora = { r: 16, lora_alpha: 32, lora_dropout: 0, target_modules: 'all' } as const
const adapter = LoraAdapter.create(model, lora, 2)
const optimizer = new AdamW(runtime, adapter.parameters)
const sums = new GradientAccumulator(runtime)
const random = seededRandom(3)

function rowsOfStep(): TrainRow[] {
  return [0, 1].map(() => ({
    ids: Int32Array.from({ length: 32 }, () => Math.floor(random() * config.vocab_size)),
    targetWeights: Float32Array.from({ length: 32 }, (_, t) => (t === 0 ? 0 : 1)),
  }))
}

function inUse(): { activeBytes: number; rssBytes: number } {
  globalThis.gc?.()
  return { activeBytes: runtime.memory().activeBytes, rssBytes: process.memoryUsage.rss() }
}

let before = inUse()
for (let step = 1; step <= Number(steps); step++) {
  for (const row of rowsOfStep()) sums.add(lossAndGradients(model, adapter, [row]))
  optimizer.update(sums.gradients, 1e-3, clipScale(sums.meanGradientNorm, 1) / sums.weightSum)
  sums.reset()
  if (step === settled) before = inUse()
  // Finalizers of collected tensors run between turns of the event loop, as they do in a training.
  await new Promise((resolve) => setImmediate(resolve))
}
console.log(JSON.stringify({ before, after: inUse() }))
