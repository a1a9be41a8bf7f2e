/** The adapter that a config asks for, and its files. */
import type { TrainConfig } from '../src/contract/train-config.ts'
import { type Adapter, type CausalLM, LoraAdapter, saveLora } from '../src/engine/index.ts'
import { ShadowError } from '../src/lib/error.ts'

/** A fresh adapter; the same for the same seed. @throws ShadowError invalid_config for layers the model doesn't have */
export function createAdapter(model: CausalLM, config: TrainConfig): Adapter {
  const { lora_r: r, lora_alpha, lora_dropout, target_modules } = config
  const { use_rslora, use_dora, rank_pattern, alpha_pattern } = config
  return LoraAdapter.create(
    model,
    { r, lora_alpha, lora_dropout, target_modules, use_rslora, use_dora, rank_pattern, alpha_pattern },
    config.seed,
  )
}

/** Writes a trained adapter in PEFT's format. @param baseModel as its config names it */
export async function saveAdapter(folder: string, adapter: Adapter, baseModel: string): Promise<void> {
  if (!(adapter instanceof LoraAdapter))
    throw new ShadowError('internal', `An adapter of kind ${adapter.kind} has no file format.`)
  await saveLora(folder, adapter, baseModel)
}
