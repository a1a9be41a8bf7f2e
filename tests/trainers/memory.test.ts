import { totalmem } from 'node:os'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { LlamaForCausalLM, LoraAdapter, lossAndGradients, Runtime } from '../../src/engine/index.ts'
import { activationBytes } from '../../src/engine/memory-guard.ts'
import { type TinyTraining, tinyTraining } from './tiny-training.ts'

/** Many layers make a token dear and the model itself small. */
const runtime = new Runtime()
const model = LlamaForCausalLM.random(
  runtime,
  {
    vocab_size: 258,
    hidden_size: 16,
    intermediate_size: 256,
    num_hidden_layers: 300,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    max_position_embeddings: 4096,
    tie_word_embeddings: true,
  },
  1,
)
/** Of a pass that no machine can hold that has this one's memory. */
const tooMany = Math.ceil((1.1 * totalmem()) / activationBytes(model, 1, false))

describe('a pass that the machine cannot hold', () => {
  let tiny: TinyTraining
  beforeAll(() => {
    tiny = tinyTraining()
  })
  afterAll(() => {
    tiny[Symbol.dispose]()
    model.dispose()
  })

  it('is refused before it is computed, with what to lower', () => {
    const lora = { r: 1, lora_alpha: 1, lora_dropout: 0, target_modules: ['o_proj'] }
    const adapter = LoraAdapter.create(model, lora, 1)
    const ids = Int32Array.from({ length: tooMany }, (_, t) => t % 256)
    const row = { ids, targetWeights: new Float32Array(tooMany).fill(1, 1) }
    expect(() => lossAndGradients(model, adapter, [row])).toThrow(
      expect.objectContaining({
        code: 'out_of_memory',
        message: expect.stringMatching(
          /^A pass of \d+ tokens needs more than \d+\.\d GB, and \d+\.\d GB are/,
        ),
        hint: expect.stringMatching(/^Set gradient_checkpointing, or lower max_tokens_per_pass/),
      }),
    )
    expect(runtime.memory().activeBytes).toBeLessThan(1e8)
  })

  it('ends a training with the settings that bear on it, and leaves its checkpoint', async () => {
    const rows = Array.from({ length: Math.ceil(tooMany / 1000) }, (_, row) => ({
      text: `${row} `.padEnd(1000, `${row}`),
    }))
    const settings = {
      method: 'cpt',
      packing: false,
      max_length: 1024,
      max_steps: 2,
      per_device_train_batch_size: rows.length,
      max_tokens_per_pass: 10 * tooMany,
    }
    await expect(tiny.run(settings, { model, rows })).rejects.toMatchObject({
      code: 'out_of_memory',
      message: expect.stringMatching(/^Step 1: A pass of \d+ tokens needs more than/),
      hint: expect.stringMatching(
        /^Set gradient_checkpointing, or lower max_tokens_per_pass \(now \d+\), then max_length \(now 1024\) or lora_r \(now 16\)\.$/,
      ),
    })
  })
})
