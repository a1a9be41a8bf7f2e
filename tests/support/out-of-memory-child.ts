/** Trains on rows that get longer until the system refuses memory, then on a short one again. */
import {
  LlamaForCausalLM,
  LoraAdapter,
  lossAndGradients,
  Runtime,
  ShadowError,
} from '../../src/engine/index.ts'

const runtime = new Runtime()
const config = {
  vocab_size: 512,
  hidden_size: 256,
  intermediate_size: 1024,
  num_hidden_layers: 8,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  max_position_embeddings: 1_000_000,
  tie_word_embeddings: true,
} as const
const model = LlamaForCausalLM.random(runtime, config, 1)
const adapter = LoraAdapter.create(model, { r: 4, lora_alpha: 8, lora_dropout: 0, target_modules: 'all' }, 2)

function lossOf(length: number): number {
  const ids = Int32Array.from({ length }, (_, t) => (t * 31) % 512)
  const targetWeights = new Float32Array(length).fill(1)
  targetWeights[0] = 0
  const { lossSum, weightSum, gradients } = lossAndGradients(model, adapter, [{ ids, targetWeights }])
  for (const gradient of gradients) gradient.dispose()
  return lossSum / weightSum
}

const before = lossOf(64)
let code = ''
for (let length = 1024; code === '' && length <= 64 * 1024; length *= 2)
  try {
    lossOf(length)
  } catch (error) {
    if (!(error instanceof ShadowError)) throw error
    code = error.code
  }
process.stdout.write(JSON.stringify({ code, before, after: lossOf(64) }))
