/** `model_type: smollm3`: Llama with no position encoding in every fourth layer. */
import { z } from 'zod'
import {
  count,
  decoderArchitecture,
  decoderFields,
  layerTypes,
  optional,
  parseConfig,
  ropeSettings,
  unsupported,
} from './config-fields.ts'
import type { ModelFamily } from './family.ts'

const smollm3Config = z.object({
  ...decoderFields,
  tie_word_embeddings: z.boolean().default(true),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  /** One entry a layer: 1 with, 0 without rotary embedding. */
  no_rope_layers: optional(z.array(z.union([z.literal(0), z.literal(1)]))),
  /** Instead of no_rope_layers: every n-th layer is without. */
  no_rope_layer_interval: count.default(4),
  use_sliding_window: z.boolean().default(false),
  sliding_window: optional(count),
  layer_types: layerTypes,
})

export const smollm3: ModelFamily = {
  className: 'SmolLM3ForCausalLM',
  architecture(raw) {
    const config = parseConfig('smollm3', smollm3Config, raw)
    const { no_rope_layers: listed, layer_types: types, attention_bias: attention, mlp_bias: mlp } = config
    if (listed !== null && listed.length < config.num_hidden_layers)
      throw unsupported('smollm3', 'no_rope_layers', listed)
    if (types !== null && types.length !== config.num_hidden_layers)
      throw unsupported('smollm3', 'layer_types', types)
    return decoderArchitecture(config, [ropeSettings('smollm3', config, { theta: 2_000_000 })], {
      layer: (index) => {
        const turns =
          listed === null ? (index + 1) % config.no_rope_layer_interval !== 0 : listed[index] === 1
        const slides = types === null ? !turns : types[index] === 'sliding_attention'
        return {
          biases: { qkv: attention, output: attention, mlp },
          rotation: turns ? 0 : null,
          window: config.use_sliding_window && slides ? config.sliding_window : null,
        }
      },
    })
  },
}
