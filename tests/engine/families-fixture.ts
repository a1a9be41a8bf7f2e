/** The committed fixture of tests/fixtures/scripts/families.py, with the models and adapters that it speaks of. */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { createModel, LoraAdapter, type Runtime, type Weight } from '../../src/engine/index.ts'
import { architectureTensors } from '../../src/engine/models/architecture.ts'
import { architectureOf } from '../../src/engine/models/registry.ts'
import { pseudoRandom } from './pseudo-random.ts'

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
