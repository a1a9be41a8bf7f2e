/** The sliding windows of the Qwen families: off unless asked for, and then in the upper layers. */
import { z } from 'zod'
import { count, type DecoderConfig, layerTypes, unsupported } from './config-fields.ts'

export const slidingFields = {
  use_sliding_window: z.boolean().default(false),
  sliding_window: count.nullable().default(4096),
  /** The first layer with a window. */
  max_window_layers: z.int().nonnegative().default(28),
  /** Instead of max_window_layers: one entry a layer. */
  layer_types: layerTypes,
}

const slidingConfig = z.object(slidingFields)

/**
 * One entry a layer: how many tokens a token sees, null for all.
 * @throws ShadowError `invalid_config` for a list of another length than the layers
 */
export function slidingWindows(
  modelType: string,
  config: DecoderConfig & z.output<typeof slidingConfig>,
): (number | null)[] {
  const { num_hidden_layers: layers, layer_types: types, sliding_window: window } = config
  if (types !== null && types.length !== layers) throw unsupported(modelType, 'layer_types', types)
  return Array.from({ length: layers }, (_, index) => {
    if (!config.use_sliding_window) return null
    const slides = types === null ? index >= config.max_window_layers : types[index] === 'sliding_attention'
    return slides ? window : null
  })
}
