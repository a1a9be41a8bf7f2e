/** Adapters that PEFT or mlx-lm saved while training, as the weights to go on from. */
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { TrainConfig } from '../src/contract/train-config.ts'
import { readAdapterFolder, type WeightSource } from '../src/engine/index.ts'
import { ShadowError } from '../src/lib/error.ts'
import type { FoundCheckpoint } from './found-checkpoints.ts'

const prefix = 'base_model.model.'

/**
 * The tensors under PEFT's names.
 * @throws ShadowError invalid_file for an adapter of another shape than the config's, naming what differs
 */
export function readForeignAdapter(found: FoundCheckpoint, config: TrainConfig): WeightSource {
  const adapter = readNumbered(found)
  const differs = (
    [
      ['lora_r', adapter.config.r, config.lora_r],
      ['lora_alpha', adapter.config.lora_alpha, config.lora_alpha],
      ['use_dora', adapter.config.use_dora, config.use_dora],
      ['use_rslora', adapter.config.use_rslora, config.use_rslora],
    ] as const
  ).flatMap(([name, theirs, ours]) => (theirs === ours ? [] : [`${name} ${theirs} → ${ours}`]))
  if (differs.length > 0) {
    throw new ShadowError('invalid_file', `${found.path} is another adapter: ${differs.join('; ')}.`, {
      hint: 'Set these as that training had them, or start without resume_from_checkpoint.',
    })
  }
  return {
    has: (name) => adapter.tensors.has(name.slice(prefix.length)),
    get: (name) => adapter.tensors.get(name.slice(prefix.length)),
  }
}

/** A numbered file of mlx-lm shares one config with its siblings, so it is read as a folder of its own. */
function readNumbered({ path, kind, step }: FoundCheckpoint): ReturnType<typeof readAdapterFolder> {
  if (kind === 'peft') return readAdapterFolder(step === null ? dirname(path) : path)
  const config = join(dirname(path), 'adapter_config.json')
  if (!existsSync(config)) {
    throw new ShadowError('not_found', `${config} is missing.`, {
      hint: 'mlx-lm writes it beside its adapters; it says what they are.',
    })
  }
  const folder = mkdtempSync(join(tmpdir(), 'shadow-adapter-'))
  try {
    copyFileSync(config, join(folder, 'adapter_config.json'))
    copyFileSync(path, join(folder, 'adapters.safetensors'))
    return readAdapterFolder(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
