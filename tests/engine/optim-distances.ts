/** How far AdamW is from torch, and accumulated passes from one pass; what tests/fixtures/scripts/optim.py wrote. */
import { z } from 'zod'
import {
  AdamW,
  clipScale,
  globalNorm,
  GradientAccumulator,
  LlamaForCausalLM,
  LoraAdapter,
  lossAndGradients,
  type Runtime,
  type Tensor,
  type TrainRow,
} from '../../src/engine/index.ts'
import { fixture } from './default-model.ts'
import { pseudoRandom } from './pseudo-random.ts'
import { maxDifference, relativeError } from './tiny-llama.ts'

const fields = z.object({
  shapes: z.array(z.array(z.number())),
  steps: z.number(),
  learningRate: z.number(),
  maxNorm: z.number(),
  kept: z.record(z.string(), z.object({ norm: z.number(), parameters: z.array(z.array(z.number())) })),
})

/**
 * After each step that the fixture keeps: the largest difference of a parameter from torch's, and that of the gradient's
 * norm, relative. 100 steps with clipping and a linear schedule.
 */
export function torchDistances(runtime: Runtime): { step: number; parameters: number; norm: number }[] {
  const reference = fields.parse(fixture('optim'))
  const drawn = (shape: readonly number[], seed: number, scale: number): Tensor =>
    runtime.fromFloat32(
      pseudoRandom(
        shape.reduce((product, size) => product * size, 1),
        seed,
        scale,
      ),
      shape,
    )
  const parameters = runtime.keep(reference.shapes.map((shape, index) => drawn(shape, 1000 + index, 0.5)))
  const optimizer = new AdamW(runtime, parameters, { weightDecay: 0.01 })
  const distances: { step: number; parameters: number; norm: number }[] = []
  for (let step = 1; step <= reference.steps; step++) {
    runtime.tidy(() => {
      const scale = step % 10 === 0 ? 2 : 0.1
      const seed = step * reference.shapes.length
      const gradients = reference.shapes.map((shape, index) => drawn(shape, seed + index, scale))
      const norm = globalNorm(runtime, gradients)
      const rate = reference.learningRate * (1 - (step - 1) / reference.steps)
      optimizer.update(gradients, rate, clipScale(norm, reference.maxNorm))
      const expected = reference.kept[step]
      if (expected === undefined) return
      const apart = parameters.map((parameter, index) =>
        maxDifference(parameter.toFloat32Array(), Float32Array.from(expected.parameters[index] ?? [])),
      )
      distances.push({ step, parameters: Math.max(...apart), norm: Math.abs(norm / expected.norm - 1) })
    })
  }
  return distances
}

/**
 * Eight passes of one row against one pass of eight, at ragged lengths and with weights that differ: the largest relative
 * difference of loss, norm and any gradient.
 */
export function accumulationDistance(runtime: Runtime): number {
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

  // 3 to 59 tokens, with weights that differ.
  const rows: TrainRow[] = [3, 59, 17, 8, 41, 5, 26, 33].map((length, index) => ({
    ids: Int32Array.from(pseudoRandom(length, index, 15), (value) => Math.floor(value) + 15),
    targetWeights: Float32Array.from({ length }, (_, t) => (t === 0 ? 0 : t % 3 === index % 3 ? 2 : 0.5)),
  }))
  const sumsOf = (passes: readonly (readonly TrainRow[])[]) => {
    const sums = new GradientAccumulator(runtime)
    for (const pass of passes) sums.add(lossAndGradients(model, adapter, pass))
    return sums
  }
  const one = sumsOf([rows])
  const eight = sumsOf(rows.map((row) => [row]))
  if (eight.weightSum !== one.weightSum) return Number.POSITIVE_INFINITY
  return Math.max(
    Math.abs(eight.meanLoss / one.meanLoss - 1),
    Math.abs(eight.meanGradientNorm / one.meanGradientNorm - 1),
    ...one.gradients.map((gradient, index) =>
      relativeError(
        eight.gradients[index]?.toFloat32Array() ?? new Float32Array(),
        gradient.toFloat32Array(),
      ),
    ),
  )
}
