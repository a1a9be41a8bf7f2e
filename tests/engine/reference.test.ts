/** The default model against transformers and PEFT, in float32, on fixtures made by scripts/reference.py. */
import { afterAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { weightSource } from '../../src/engine/io/weight-source.ts'
import {
  createModel,
  GenerationScheduler,
  LoraAdapter,
  lossAndGradients,
  pack,
  Runtime,
} from '../../src/engine/index.ts'
import { defaultText, fixture, openDefaultModel } from './default-model.ts'
import { pseudoRandom } from './pseudo-random.ts'

const float32s = z
  .base64()
  .transform((text) => new Float32Array(new Uint8Array(Buffer.from(text, 'base64')).buffer))
const logits = z
  .object({ prompts: z.array(z.object({ ids: z.array(z.int()), logits: float32s })).length(10) })
  .parse(fixture('logits'))
const greedy = z
  .array(
    z.object({
      prompt: z.array(z.int()),
      answer: z.array(z.int()),
      text: z.string(),
      messages: z.array(z.object({ role: z.string(), content: z.string() })),
    }),
  )
  .parse(fixture('greedy'))
const gradients = z
  .object({
    rank: z.int(),
    alpha: z.number(),
    rows: z.array(z.object({ ids: z.array(z.int()), promptLength: z.int() })),
    loss: z.number(),
    tensors: z.record(z.string(), z.object({ norm: z.number(), samples: float32s })),
  })
  .parse(fixture('gradients'))

const runtime = new Runtime()
const { tokenizer, template } = defaultText()

describe.each(['none', 'keep'] as const)('weights in memory: quantization %s', (quantization) => {
  using file = openDefaultModel()
  const model = createModel(runtime, file.config, weightSource(file.tensors, quantization))
  afterAll(() => model.dispose())

  test('logits of the last position of ten prompts, 1e-3 absolute', () => {
    const worst = logits.prompts.map(({ ids, logits: expected }) => {
      const found = runtime.tidy(() => model.logits(model.hidden(pack([ids]), null)).toFloat32Array())
      const last = found.subarray(found.length - model.vocabularySize)
      return Math.max(...expected.map((value, i) => Math.abs(value - (last[i * 96] ?? NaN))))
    })
    expect(worst).toHaveLength(10)
    for (const difference of worst) expect(difference).toBeLessThan(1e-3)
  })

  describe('greedy answers', () => {
    test.each(greedy.map((row) => [row.text, row] as const))(
      '%s',
      async (_text, { messages, prompt, answer }) => {
        const promptIds = [...template.encodePrompt(messages)]
        expect(promptIds).toEqual(prompt)
        using generator = new GenerationScheduler(model, { maxBatch: 1, maxContext: 128 })
        const stopIds = tokenizer.eosTokenId === undefined ? [] : [tokenizer.eosTokenId]
        const { ids } = await generator.submit({ promptIds, maxTokens: 40, temperature: 0, topP: 1, stopIds })
        const withoutEnd = (tokens: readonly number[]): number[] =>
          tokens.filter((id) => !stopIds.includes(id))
        expect(withoutEnd(ids)).toEqual(withoutEnd(answer))
      },
    )
  })

  test('LoRA gradients of a ragged batch with B drawn at random, 1e-3 relative', () => {
    const { rank, alpha, rows, loss, tensors } = gradients
    const names = Object.keys(tensors).toSorted()
    expect(names).toHaveLength(420)
    const seedOf = new Map(names.map((name, index) => [name, index]))
    const sizes = new Map(
      model.linears.map(({ path, inFeatures, outFeatures }) => [path, { A: inFeatures, B: outFeatures }]),
    )
    const adapter = LoraAdapter.fromTensors(
      model,
      { r: rank, lora_alpha: alpha, lora_dropout: 0, target_modules: 'all' },
      {
        has: () => true,
        get: (peftName) => {
          const name = peftName.replace('base_model.model.', '')
          const [path = '', factor] = name.split('.lora_')
          const isA = factor === 'A.weight'
          const features = sizes.get(path)?.[isA ? 'A' : 'B'] ?? 0
          const data = pseudoRandom(rank * features, seedOf.get(name) ?? -1, isA ? 0.04 : 0.02)
          return { shape: isA ? [rank, features] : [features, rank], data }
        },
      },
    )
    const batch = rows.map(({ ids, promptLength }) => ({
      ids: Int32Array.from(ids),
      targetWeights: Float32Array.from(ids, (_, t) => (t < promptLength ? 0 : 1)),
    }))
    const result = lossAndGradients(model, adapter, batch)
    expect(Math.abs(result.lossSum / result.weightSum - loss) / loss).toBeLessThan(1e-4)

    const worst = adapter.parameterNames.map((peftName, index) => {
      const name = peftName.replace('base_model.model.', '')
      const expected = tensors[name]
      const found = result.gradients[index]?.toFloat32Array() ?? new Float32Array()
      if (expected === undefined) throw new Error(`No reference for ${name}`)
      const scaled = found.map((value) => value / result.weightSum)
      const norm = Math.sqrt(scaled.reduce((sum, value) => sum + value * value, 0))
      const samples = expected.samples.map(
        (_, k) => scaled[Math.floor((k * scaled.length) / expected.samples.length)] ?? NaN,
      )
      const apart = Math.sqrt(
        samples.reduce((sum, value, k) => sum + (value - (expected.samples[k] ?? NaN)) ** 2, 0),
      )
      const size = Math.sqrt(expected.samples.reduce((sum, value) => sum + value * value, 0))
      return { name, norm: Math.abs(norm - expected.norm) / expected.norm, samples: apart / size }
    })
    expect(worst.filter(({ norm, samples }) => !(norm < 1e-3 && samples < 1e-3))).toEqual([])
    adapter.dispose()
  })
})
