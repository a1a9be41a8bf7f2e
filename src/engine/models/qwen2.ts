/** `model_type: qwen2`: Qwen2 and Qwen2.5. Llama with biases on queries, keys and values. */
import { z } from 'zod'
import { decoderArchitecture, decoderFields, parseConfig, ropeSettings } from './config-fields.ts'
import type { ModelFamily } from './family.ts'
import { slidingFields, slidingWindows } from './sliding-window.ts'

const qwen2Config = z.object({ ...decoderFields, ...slidingFields })

export const qwen2: ModelFamily = {
  className: 'Qwen2ForCausalLM',
  architecture(raw) {
    const config = parseConfig('qwen2', qwen2Config, raw)
    const windows = slidingWindows('qwen2', config)
    return decoderArchitecture(config, [ropeSettings('qwen2', config)], {
      layer: (index) => ({
        biases: { qkv: true, output: false, mlp: false },
        window: windows[index] ?? null,
      }),
    })
  },
}
