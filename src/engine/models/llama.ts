/** `model_type: llama`: Llama 2/3, SmolLM2 and others of that shape. */
import { z } from 'zod'
import type { WeightSource } from '../nn/weights.ts'
import type { Runtime } from '../tensor/runtime.ts'
import { decoderArchitecture, decoderFields, parseConfig, ropeSettings } from './config-fields.ts'
import { DecoderForCausalLM } from './decoder.ts'
import type { ModelFamily } from './family.ts'
import { RandomWeights } from './random-weights.ts'

/** The fields of `config.json` that decide the arithmetic, under Hugging Face's names. */
export const llamaConfig = z.object({
  ...decoderFields,
  model_type: z.literal('llama').default('llama'),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
})
/** The fields of a Llama's `config.json` that decide the arithmetic; defaults are those of `transformers`. */
export type LlamaConfig = z.input<typeof llamaConfig>

export const llama: ModelFamily = {
  className: 'LlamaForCausalLM',
  architecture(raw) {
    const config = parseConfig('llama', llamaConfig, raw)
    const { attention_bias: attention, mlp_bias: mlp } = config
    return decoderArchitecture(config, [ropeSettings('llama', config)], {
      layer: () => ({ biases: { qkv: attention, output: attention, mlp } }),
    })
  },
}

/** A Llama from its configuration and weights; other families are made by `createModel`. */
export class LlamaForCausalLM extends DecoderForCausalLM {
  /** @throws ShadowError `invalid_config`, `invalid_file`. */
  constructor(runtime: Runtime, config: LlamaConfig, source: WeightSource) {
    super(runtime, llama.architecture(config), source)
  }

  /** A model with normal weights (std 0.02, norms 1), the same for the same seed. For tests and benchmarks. */
  static random(runtime: Runtime, config: LlamaConfig, seed: number): LlamaForCausalLM {
    return new LlamaForCausalLM(runtime, config, new RandomWeights(runtime, llama.architecture(config), seed))
  }
}
