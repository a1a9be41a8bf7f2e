/** What a config says about the base and about what is trained of it, and the files of the result. */
import { join } from 'node:path'
import type { TrainConfig } from '../src/contract/train-config.ts'
import {
  type Adapter,
  type CausalLM,
  FullFineTuning,
  LoraAdapter,
  type loadModel,
  saveFullModel,
  saveLora,
} from '../src/engine/index.ts'
import { ShadowError } from '../src/lib/error.ts'

/** How the base is loaded for a training. */
export function loadOptions(config: TrainConfig): NonNullable<Parameters<typeof loadModel>[2]> {
  const bits = config.load_in_4bit ? 4 : config.load_in_8bit ? 8 : null
  return {
    ...(bits === null ? {} : { quantization: { bits } }),
    ...(config.bf16 ? { dtype: 'bfloat16' } : {}),
  }
}

/**
 * What is trained; a fresh adapter is the same for the same seed.
 * @throws ShadowError invalid_config for layers the model doesn't have, or full fine-tuning of a quantised base
 */
export function createAdapter(model: CausalLM, config: TrainConfig): Adapter {
  if (config.adapter === 'full') return new FullFineTuning(model)
  const { lora_r: r, lora_alpha, lora_dropout, target_modules } = config
  const { use_rslora, use_dora, rank_pattern, alpha_pattern } = config
  return LoraAdapter.create(
    model,
    { r, lora_alpha, lora_dropout, target_modules, use_rslora, use_dora, rank_pattern, alpha_pattern },
    config.seed,
  )
}

/**
 * Writes what was trained: `adapter/` in PEFT's format, or `model/` as a Hugging Face folder.
 * @param base as an adapter's config names it, and its files
 */
export async function saveTrained(
  folder: string,
  trained: Adapter,
  base: { name: string; path: string },
): Promise<void> {
  if (trained instanceof LoraAdapter) await saveLora(join(folder, 'adapter'), trained, base.name)
  else if (trained instanceof FullFineTuning) await saveFullModel(join(folder, 'model'), trained, base.path)
  else throw new ShadowError('internal', `What is trained as ${trained.kind} has no file format.`)
}
