/** `model_type: qwen3`: Llama with queries and keys normalised head by head. */
import { z } from 'zod'
import { count, decoderArchitecture, decoderFields, parseConfig, ropeSettings } from './config-fields.ts'
import type { ModelFamily } from './family.ts'
import { slidingFields, slidingWindows } from './sliding-window.ts'

const qwen3Config = z.object({
  ...decoderFields,
  ...slidingFields,
  head_dim: count.default(128),
  attention_bias: z.boolean().default(false),
})

export const qwen3: ModelFamily = {
  className: 'Qwen3ForCausalLM',
  architecture(raw) {
    const config = parseConfig('qwen3', qwen3Config, raw)
    const windows = slidingWindows('qwen3', config)
    const bias = config.attention_bias
    return decoderArchitecture(config, [ropeSettings('qwen3', config)], {
      layer: (index) => ({
        qkNorm: true,
        biases: { qkv: bias, output: bias, mlp: false },
        window: windows[index] ?? null,
      }),
    })
  },
}
