/**
 * The model families, by `model_type`.
 *
 * How to add one: write `models/<model_type>.ts` with a zod schema of the configuration fields that decide the
 * arithmetic and a class that implements `CausalLM` (nn/decoder-block.ts serves every pre-norm decoder), add a
 * line to `families`, and check it against `transformers` with a tiny seeded configuration as
 * tests/engine/llama.test.ts does.
 */
import { ShadowError } from '../../lib/error.ts'
import type { WeightSource } from '../nn/weights.ts'
import type { Runtime } from '../tensor/runtime.ts'
import type { CausalLM } from './causal-lm.ts'
import { LlamaForCausalLM, llamaConfig } from './llama.ts'

type Family = (runtime: Runtime, config: unknown, source: WeightSource) => CausalLM

const families: Readonly<Record<string, Family>> = {
  llama: (runtime, config, source) => new LlamaForCausalLM(runtime, llamaConfig.parse(config), source),
}

/** The `model_type`s that `createModel` knows. */
export function modelTypes(): string[] {
  return Object.keys(families)
}

/** @throws ShadowError `invalid_config` for a family that is not here, `invalid_file` for missing weights. */
export function createModel(
  runtime: Runtime,
  config: { model_type: string },
  source: WeightSource,
): CausalLM {
  const family = families[config.model_type]
  if (family === undefined)
    throw new ShadowError('invalid_config', `Models of type ${config.model_type} are not supported.`, {
      hint: `Choose a model of one of these types: ${modelTypes().join(', ')}.`,
    })
  return family(runtime, config, source)
}
