/** `model_type: phi3`: Phi-3 and Phi-4. Llama with one layer for queries, keys and values and one for gate and up. */
import { z } from 'zod'
import {
  count,
  decoderArchitecture,
  decoderFields,
  optional,
  parseConfig,
  ropeSettings,
  unsupported,
} from './config-fields.ts'
import type { ModelFamily } from './family.ts'

const phi3Config = z.object({
  ...decoderFields,
  rms_norm_eps: z.number().positive().default(1e-5),
  max_position_embeddings: count.default(4096),
  original_max_position_embeddings: count.default(4096),
  /** Tokens that a token sees, itself included; null: all. */
  sliding_window: optional(count),
})

/** Older files call longrope by other names. */
const longropeNames: readonly unknown[] = ['longrope', 'su', 'yarn']

export const phi3: ModelFamily = {
  className: 'Phi3ForCausalLM',
  architecture(raw) {
    const config = parseConfig('phi3', phi3Config, raw)
    const rope = ropeSettings('phi3', config, { partial: true })
    const { scaling = {} } = rope
    const type = scaling['rope_type'] ?? scaling['type'] ?? 'default'
    if (type !== 'default' && !longropeNames.includes(type)) throw unsupported('phi3', 'rope_scaling', type)
    const scaled = type === 'default' ? {} : { ...scaling, rope_type: 'longrope' }
    return decoderArchitecture(config, [{ ...rope, scaling: scaled }], {
      layer: () => ({ fusedLinears: true, window: config.sliding_window }),
    })
  },
}
