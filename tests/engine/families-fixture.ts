/** The committed fixture of tests/fixtures/scripts/families.py, with the models and adapters that it speaks of. */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import {
  createModel,
  FullFineTuning,
  LoraAdapter,
  lossAndGradients,
  pack,
  type Runtime,
  type TrainRow,
  type Weight,
} from '../../src/engine/index.ts'
import { architectureTensors } from '../../src/engine/models/architecture.ts'
import { architectureOf } from '../../src/engine/models/registry.ts'
import { pseudoRandom } from './pseudo-random.ts'
import { maxDifference, relativeError } from './tiny-llama.ts'

const encoded = z.object({ shape: z.array(z.number()), data: z.base64() }).transform(({ data }) => {
  const bytes = Buffer.from(data, 'base64')
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
})

const familyCase = z.object({
  config: z.looseObject({ model_type: z.string() }),
  /** The model's tensors; the place of each is its seed. */
  names: z.array(z.string()),
  /** The adapter's. */
  factors: z.array(z.string()),
  rows: z.array(z.array(z.number())),
  logits: z.array(encoded),
  lossSum: z.number(),
  gradients: z.record(z.string(), encoded),
  /** The model without the adapter, all of it trained. */
  full: z.object({
    lossSum: z.number(),
    gradients: z.record(z.string(), z.object({ norm: z.number(), products: z.array(z.number()) })),
  }),
})
export type FamilyCase = z.output<typeof familyCase>

export function readFamilies(): [string, FamilyCase][] {
  const url = new URL('../fixtures/engine/families.json', import.meta.url)
  return Object.entries(z.record(z.string(), familyCase).parse(JSON.parse(readFileSync(url, 'utf8'))))
}

/** The tensors of the model under Hugging Face's names. */
export function familyWeights({ config, names }: FamilyCase): Map<string, Weight> {
  const shapes = architectureTensors(architectureOf(config))
  return new Map(
    names.map((name, place) => {
      const shape = shapes.get(name)
      if (shape === undefined) throw new Error(`${config.model_type} has no ${name}`)
      const size = shape.reduce((product, axis) => product * axis, 1)
      const isNorm = name.includes('norm')
      const drawn = pseudoRandom(size, place, isNorm ? 0.1 : 0.35)
      const offset = isNorm && !config.model_type.startsWith('gemma') ? 1 : 0
      return [name, { shape, data: drawn.map((value) => value + offset) }]
    }),
  )
}

export function familyModel(runtime: Runtime, family: FamilyCase) {
  const model = createModel(runtime, family.config, familyWeights(family))
  const shapes = new Map(
    model.linears.flatMap(({ path, inFeatures, outFeatures }) => [
      [`base_model.model.${path}.lora_A.weight`, [2, inFeatures]],
      [`base_model.model.${path}.lora_B.weight`, [outFeatures, 2]],
    ]),
  )
  const tensors = new Map(
    family.factors.map((name, place): [string, Weight] => {
      const shape = shapes.get(name) ?? []
      const size = shape.reduce((product, axis) => product * axis, 1)
      return [name, { shape, data: pseudoRandom(size, 1000 + place, 0.3) }]
    }),
  )
  const config = { r: 2, lora_alpha: 4, lora_dropout: 0, target_modules: 'all' } as const
  return { model, adapter: LoraAdapter.fromTensors(model, config, tensors) }
}

/** A row whose tokens all carry loss, but for the first. */
export function trainRow(ids: readonly number[]): TrainRow {
  return { ids: Int32Array.from(ids), targetWeights: Float32Array.from(ids, (_, t) => (t === 0 ? 0 : 1)) }
}

/** How far the engine is from transformers and peft. */
export interface FamilyDistances {
  /** Absolute. */
  logits: number
  /** Relative, as are the others. */
  loss: number
  /** The worst gradient of an adapter's factor. */
  factors: number
  /** The worst gradient of a parameter of the model itself. */
  parameters: number
}

export function familyDistances(runtime: Runtime, family: FamilyCase): FamilyDistances {
  const { model, adapter } = familyModel(runtime, family)
  const logits = runtime.tidy(() =>
    model.logits(model.hidden(pack(family.rows), adapter.view())).toFloat32Array(),
  )
  const rows = family.rows.map(trainRow)
  const tuned = lossAndGradients(model, adapter, rows)
  const full = new FullFineTuning(model)
  const trained = lossAndGradients(model, full, rows)
  const sizes = new Map([...full.tensors()].map(([name, { data }]) => [name, data.length]))
  const parameters = full.parameterNames.flatMap((joined, index) => {
    const values = trained.gradients[index]?.toFloat32Array() ?? new Float32Array()
    let at = 0
    return joined.split('+').map((name): [string, Float32Array] => {
      const from = at
      at += sizes.get(name) ?? 0
      return [name, values.subarray(from, at)]
    })
  })
  const known = family.full.gradients
  // Keys' biases have no gradient in layers without rotary embedding.
  const floor = 1e-4 * Math.hypot(...Object.values(known).map(({ norm }) => norm))
  const distances = {
    logits: maxDifference(logits, Float32Array.from(family.logits.flatMap((row) => [...row]))),
    loss: Math.max(
      Math.abs(tuned.lossSum / family.lossSum - 1),
      Math.abs(trained.lossSum / family.full.lossSum - 1),
    ),
    factors: Math.max(
      ...adapter.parameterNames.map((name, index) =>
        relativeError(
          tuned.gradients[index]?.toFloat32Array() ?? new Float32Array(),
          family.gradients[name] ?? new Float32Array(),
        ),
      ),
    ),
    parameters: Math.max(...parameters.map(([name, values]) => gradientDistance(values, known[name], floor))),
  }
  for (const gradient of [...tuned.gradients, ...trained.gradients]) gradient.dispose()
  model.dispose()
  return distances
}

/**
 * How far a gradient is from one that is known by its norm and its products with seeded directions: the largest of
 * these distances, relative. An error of random direction shows in a product by its length over √size.
 * @param floor the least norm that it is related to
 */
function gradientDistance(
  values: Float32Array,
  expected: { norm: number; products: readonly number[] } | undefined,
  floor: number,
): number {
  if (expected === undefined) return Number.NaN
  const norm = Math.hypot(...values)
  const off = expected.products.map((product, seed) => {
    const direction = pseudoRandom(values.length, seed, 1)
    const ours = values.reduce((sum, value, at) => sum + value * (direction[at] ?? 0), 0)
    return (Math.abs(ours - product) * Math.sqrt(values.length)) / Math.hypot(...direction)
  })
  return Math.max(Math.abs(norm - expected.norm), ...off) / Math.max(expected.norm, floor)
}
