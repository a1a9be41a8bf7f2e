/** A model of any shape as a Hugging Face folder: seeded random weights in bfloat16, the default model's tokenizer. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { Runtime } from '../../src/engine/index.ts'
import { exportModel } from '../../src/engine/io/export.ts'
import { writeSafetensors } from '../../src/engine/io/safetensors-write.ts'
import { architectureTensors } from '../../src/engine/models/architecture.ts'
import { RandomWeights } from '../../src/engine/models/random-weights.ts'
import { architectureOf } from '../../src/engine/models/registry.ts'
import { ensureDefaultModel } from '../../src/setup/model.mjs'
import type { Shape } from './shapes.ts'

const seed = 5

/** @param folder new; a tensor is drawn, rounded and written at a time */
export async function writeRandomModel(folder: string, { config }: Shape): Promise<void> {
  await exportModel({
    basePath: await ensureDefaultModel(),
    adapterFolder: null,
    format: 'hf',
    type: 'bf16',
    outFolder: folder,
  })
  const path = join(folder, 'config.json')
  const written = z
    .looseObject({ bos_token_id: z.unknown(), eos_token_id: z.unknown(), pad_token_id: z.unknown() })
    .parse(JSON.parse(readFileSync(path, 'utf8')))
  const { bos_token_id, eos_token_id, pad_token_id } = written
  const ids = { bos_token_id, eos_token_id, pad_token_id }
  writeFileSync(path, JSON.stringify({ ...config, ...ids, torch_dtype: 'bfloat16' }))
  const architecture = architectureOf(config)
  const weights = new RandomWeights(new Runtime(), architecture, seed)
  const names = [...architectureTensors(architecture)].filter(([name]) => name !== 'lm_head.weight')
  const tensors = new Map(
    names.map(([name, shape]) => [
      name,
      { shape, read: () => Float32Array.from(weights.get(name)?.data ?? []) },
    ]),
  )
  await writeSafetensors(join(folder, 'model.safetensors'), tensors, 'BF16')
}
