/** Adapters for the tiny model, every kind that a file can hold. */
import type { LoraAdapter, LoraConfig } from '../../src/engine/io/adapter.ts'
import { layerRank } from '../../src/engine/adapters/lora-config.ts'
import { encodeBF16 } from '../../src/engine/io/ggml-encode.ts'
import { decodeBF16 } from '../../src/engine/io/ggml-types.ts'
import { loadGguf } from '../../src/engine/io/gguf.ts'
import type { TensorData } from '../../src/engine/io/safetensors.ts'
import { pseudoRandom } from './pseudo-random.ts'

const plain: LoraConfig = {
  peft_type: 'LORA',
  r: 4,
  lora_alpha: 8,
  lora_dropout: 0,
  use_rslora: false,
  use_dora: false,
  target_modules: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
}

/** Random factors for every projection of the base. */
export function randomAdapter(basePath: string, fields: Partial<LoraConfig> = {}): LoraAdapter {
  using model = loadGguf(basePath)
  const config = { ...plain, ...fields }
  const tensors = new Map<string, TensorData>()
  let seed = 1
  for (const [name, { shape }] of model.tensors) {
    const [out = 0, columns = 0] = shape
    if (!name.includes('_proj')) continue
    const module = name.replace(/\.weight$/, '')
    const r = layerRank(config, module)
    tensors.set(`${module}.lora_A.weight`, {
      shape: [r, columns],
      data: pseudoRandom(r * columns, seed++, 0.3),
    })
    tensors.set(`${module}.lora_B.weight`, { shape: [out, r], data: pseudoRandom(out * r, seed++, 0.3) })
    if (!config.use_dora) continue
    const norms = pseudoRandom(out, seed++, 0.5).map((value) => 1 + value)
    tensors.set(`${module}.lora_magnitude_vector`, { shape: [out], data: norms })
  }
  return { config, tensors }
}

/** The same adapter as a training in bfloat16 leaves it. */
export function inBfloat16({ config, tensors }: LoraAdapter): LoraAdapter {
  const rounded = [...tensors].map(([name, { shape, data }]): [string, TensorData] => [
    name,
    { shape, data: decodeBF16(encodeBF16(data)), storedAs: 'BF16' },
  ])
  return { config, tensors: new Map(rounded) }
}
