/**
 * The model families, by `model_type`.
 *
 * How to add one: write `models/<model_type>.ts` (kebab-case) with a zod schema of the configuration fields that decide
 * the arithmetic and a `ModelFamily` that turns them into an `Architecture` (config-fields.ts has what families share;
 * a difference that no `BlockSpec` can express goes into nn/decoder-block.ts), add a line to `families`, and check it
 * against `transformers` by a tiny seeded configuration in tests/fixtures/scripts/families.py. For GGUF files see
 * io/gguf-config.ts.
 */
import { ShadowError } from '../../lib/error.ts'
import type { WeightSource } from '../nn/weights.ts'
import type { Runtime } from '../tensor/runtime.ts'
import type { Architecture } from './architecture.ts'
import { DecoderForCausalLM } from './decoder.ts'
import type { ModelConfig, ModelFamily } from './family.ts'
import { gemma3Text } from './gemma3-text.ts'
import { llama } from './llama.ts'
import { mistral } from './mistral.ts'
import { phi3 } from './phi3.ts'
import { qwen2 } from './qwen2.ts'
import { qwen3 } from './qwen3.ts'
import { smollm3 } from './smollm3.ts'

const families: Readonly<Record<string, ModelFamily>> = {
  llama,
  mistral,
  qwen2,
  qwen3,
  phi3,
  smollm3,
  gemma3_text: gemma3Text,
}

/** The `model_type`s that `createModel` knows. */
export function modelTypes(): string[] {
  return Object.keys(families)
}

/** @throws ShadowError `invalid_config` for a family that is not here */
function familyOf({ model_type: modelType }: Pick<ModelConfig, 'model_type'>): ModelFamily {
  const family = Object.hasOwn(families, modelType) ? families[modelType] : undefined
  if (family !== undefined) return family
  throw new ShadowError('invalid_config', `Models of type ${modelType} are not supported.`, {
    hint: `Choose a model of one of these types: ${modelTypes().join(', ')}.`,
  })
}

/** The family's class in `transformers`. @throws ShadowError `invalid_config` for a family that is not here */
export function modelClassName(config: ModelConfig): string {
  return familyOf(config).className
}

/** What a configuration stands for. @throws ShadowError `invalid_config` naming the field */
export function architectureOf(config: ModelConfig): Architecture {
  return familyOf(config).architecture(config)
}

/** @throws ShadowError `invalid_config` for what this engine does not compute, `invalid_file` for missing weights. */
export function createModel(runtime: Runtime, config: ModelConfig, source: WeightSource): DecoderForCausalLM {
  return new DecoderForCausalLM(runtime, architectureOf(config), source)
}
