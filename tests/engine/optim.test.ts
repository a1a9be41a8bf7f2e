import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  AdamW,
  clipScale,
  globalNorm,
  GradientAccumulator,
  LlamaForCausalLM,
  LoraAdapter,
  lossAndGradients,
  Runtime,
  type TrainRow,
} from '../../src/engine/index.ts'
import { fixture } from './default-model.ts'
import { pseudoRandom } from './pseudo-random.ts'
import { maxDifference, relativeError } from './tiny-llama.ts'

const runtime = new Runtime()

const reference = z
  .object({
    shapes: z.array(z.array(z.number())),
    steps: z.number(),
    learningRate: z.number(),
    maxNorm: z.number(),
    kept: z.record(z.string(), z.object({ norm: z.number(), parameters: z.array(z.array(z.number())) })),
  })
  .parse(fixture('optim'))

/** The gradients of tests/fixtures/scripts/optim.py. */
function drawn(index: number, seed: number, scale: number) {
  const shape = reference.shapes[index] ?? []
  return runtime.fromFloat32(
    pseudoRandom(
      shape.reduce((product, size) => product * size, 1),
      seed,
      scale,
    ),
    shape,
  )
}

describe('AdamW', () => {
  test('takes the 100 steps of torch.optim.AdamW with clipping and a linear schedule, 1e-6', () => {
    const parameters = runtime.keep(reference.shapes.map((_, index) => drawn(index, 1000 + index, 0.5)))
    const optimizer = new AdamW(runtime, parameters, { weightDecay: 0.01 })
    const seen: string[] = []
    for (let step = 1; step <= reference.steps; step++) {
      runtime.tidy(() => {
        const scale = step % 10 === 0 ? 2 : 0.1
        const gradients = reference.shapes.map((_, index) =>
          drawn(index, step * reference.shapes.length + index, scale),
        )
        const norm = globalNorm(runtime, gradients)
        const rate = reference.learningRate * (1 - (step - 1) / reference.steps)
        optimizer.update(gradients, rate, clipScale(norm, reference.maxNorm))
        const expected = reference.kept[step]
        if (expected === undefined) return
        seen.push(String(step))
        expect(Math.abs(norm / expected.norm - 1)).toBeLessThan(1e-6)
        parameters.forEach((parameter, index) => {
          const values = Float32Array.from(expected.parameters[index] ?? [])
          expect(maxDifference(parameter.toFloat32Array(), values), `step ${step}`).toBeLessThan(1e-6)
        })
      })
    }
    expect(seen).toEqual(Object.keys(reference.kept))
  })
})

describe('gradient accumulation', () => {
  const model = LlamaForCausalLM.random(
    runtime,
    {
      vocab_size: 31,
      hidden_size: 24,
      intermediate_size: 40,
      num_hidden_layers: 2,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      rms_norm_eps: 1e-5,
      rope_theta: 10_000,
      max_position_embeddings: 128,
      tie_word_embeddings: true,
    },
    5,
  )
  const fresh = LoraAdapter.create(model, { r: 4, lora_alpha: 8, lora_dropout: 0, target_modules: 'all' }, 6)
  // With B at zero the gradient of A would vanish.
  const adapter = LoraAdapter.fromTensors(
    model,
    fresh.config,
    new Map(
      [...fresh.tensors()].map(([name, { shape, data }], index) => [
        name,
        { shape, data: name.includes('lora_B') ? pseudoRandom(data.length, index, 0.3) : data },
      ]),
    ),
  )

  /** Rows of 3 to 59 tokens, with weights that differ. */
  const rows: TrainRow[] = [3, 59, 17, 8, 41, 5, 26, 33].map((length, index) => ({
    ids: Int32Array.from(pseudoRandom(length, index, 15), (value) => Math.floor(value) + 15),
    targetWeights: Float32Array.from({ length }, (_, t) => (t === 0 ? 0 : t % 3 === index % 3 ? 2 : 0.5)),
  }))

  test('eight passes of one row give what one pass of eight does, at ragged lengths, 1e-5', () => {
    const sumsOf = (passes: readonly (readonly TrainRow[])[]) => {
      const sums = new GradientAccumulator(runtime)
      for (const pass of passes) sums.add(lossAndGradients(model, adapter, pass))
      return sums
    }
    const one = sumsOf([rows])
    const eight = sumsOf(rows.map((row) => [row]))
    expect(eight.weightSum).toBe(one.weightSum)
    expect(Math.abs(eight.meanLoss / one.meanLoss - 1)).toBeLessThan(1e-5)
    expect(Math.abs(eight.meanGradientNorm / one.meanGradientNorm - 1)).toBeLessThan(1e-5)
    adapter.parameterNames.forEach((name, index) => {
      const [together, apart] = [one.gradients[index], eight.gradients[index]]
      if (together === undefined || apart === undefined) throw new Error(name)
      expect(relativeError(apart.toFloat32Array(), together.toFloat32Array()), name).toBeLessThan(1e-5)
    })
  })
})
