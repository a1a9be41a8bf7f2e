/** `model_type: mistral`: Llama with a sliding window in every layer. */
import { z } from 'zod'
import { count, decoderArchitecture, decoderFields, parseConfig, ropeSettings } from './config-fields.ts'
import type { ModelFamily } from './family.ts'

const mistralConfig = z.object({
  ...decoderFields,
  /** Tokens that a token sees, itself included; null: all. */
  sliding_window: count.nullable().default(4096),
})

export const mistral: ModelFamily = {
  className: 'MistralForCausalLM',
  architecture(raw) {
    const config = parseConfig('mistral', mistralConfig, raw)
    return decoderArchitecture(config, [ropeSettings('mistral', config)], {
      layer: () => ({ window: config.sliding_window }),
    })
  },
}
