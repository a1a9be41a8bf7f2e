/**
 * `model_type: gemma3_text`: norms on both sides of attention and MLP whose weights are stored less 1, queries and
 * keys normalised head by head, a window in five of six layers with slower angles in the others, scaled input
 * embeddings, and GELU.
 */
import { z } from 'zod'
import {
  activationName,
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

const parameters = optional(z.looseObject({}))

const gemma3Config = z.object({
  ...decoderFields,
  head_dim: count.default(256),
  hidden_activation: activationName.default('gelu_pytorch_tanh'),
  tie_word_embeddings: z.boolean().default(true),
  max_position_embeddings: count.default(131_072),
  attention_bias: z.boolean().default(false),
  /** Scores are multiplied by its inverse root. */
  query_pre_attn_scalar: z.number().positive().default(256),
  sliding_window: count.nullable().default(4096),
  layer_types: layerTypes,
  /** Instead of layer_types: every n-th layer sees everything. */
  sliding_window_pattern: count.default(6),
  /** θ of the layers with a window. */
  rope_local_base_freq: optional(z.number().positive()),
  /** By layer type, as transformers 5 writes it. */
  rope_parameters: optional(z.object({ full_attention: parameters, sliding_attention: parameters })),
})

export const gemma3Text: ModelFamily = {
  className: 'Gemma3ForCausalLM',
  architecture(raw) {
    const config = parseConfig('gemma3_text', gemma3Config, raw)
    const { layer_types: types, attention_bias: bias, rope_parameters: rope } = config
    if (types !== null && types.length !== config.num_hidden_layers)
      throw unsupported('gemma3_text', 'layer_types', types)
    const plain = { ...config, hidden_act: config.hidden_activation, rope_parameters: null }
    const whole = ropeSettings(
      'gemma3_text',
      { ...plain, rope_scaling: { ...rope?.full_attention, ...config.rope_scaling } },
      { theta: 1_000_000 },
    )
    const local = ropeSettings('gemma3_text', {
      ...plain,
      rope_scaling: rope?.sliding_attention ?? null,
      rope_theta: config.rope_local_base_freq,
    })
    return decoderArchitecture(plain, [whole, local], {
      embeddingScale: Math.fround(Math.sqrt(config.hidden_size)),
      normOffset: 1,
      layer: (index) => {
        const slides =
          types === null
            ? (index + 1) % config.sliding_window_pattern !== 0
            : types[index] === 'sliding_attention'
        return {
          qkNorm: true,
          sandwichNorms: true,
          scale: 1 / Math.sqrt(config.query_pre_attn_scalar),
          biases: { qkv: bias, output: bias, mlp: false },
          rotation: slides ? 1 : 0,
          window: slides ? config.sliding_window : null,
        }
      },
    })
  },
}
