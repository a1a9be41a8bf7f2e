/**
 * LoRA adapters as every file format here reads and writes them: PEFT's settings, and tensors named after the
 * module that they adapt: `model.layers.0.self_attn.q_proj.lora_A.weight` (r, in), `….lora_B.weight` (out, r) and
 * with DoRA `….lora_magnitude_vector` (out).
 */
import { z } from 'zod'
import { layerRank, layerScale, patternProblem } from '../adapters/lora-config.ts'
import type { TensorData } from './safetensors.ts'

const suffixA = '.lora_A.weight'
const suffixB = '.lora_B.weight'
/** DoRA's row norms (out). */
const suffixMagnitude = '.lora_magnitude_vector'

/** Values by a regular expression for the end of a layer's path. */
const pattern = z.record(
  z.string().superRefine((key, context) => {
    const problem = patternProblem(key)
    if (problem !== null) context.addIssue({ code: 'custom', message: problem })
  }),
  z.number().positive(),
)

/** The fields of PEFT's `adapter_config.json` that this engine honours; others are kept as they came. */
export const loraConfig = z.looseObject({
  peft_type: z.literal('LORA'),
  /** Rank. */
  r: z.int().positive(),
  lora_alpha: z.number().positive(),
  lora_dropout: z.number().min(0).max(1).default(0),
  /** Scale by α/√r instead of α/r. */
  use_rslora: z.boolean().default(false),
  /** Module names (or a pattern); informative when loading, since the tensors name their modules. */
  target_modules: z.union([z.array(z.string()), z.string()]),
  /** Ranks and alphas of layers that differ from `r` and `lora_alpha`. */
  rank_pattern: pattern.nullish(),
  alpha_pattern: pattern.nullish(),
  /** DoRA (arXiv 2402.09353): rows of the sum are scaled to the length in `lora_magnitude_vector`. */
  use_dora: z.boolean().default(false),
  base_model_name_or_path: z.string().nullish(),
})
export type LoraConfig = z.infer<typeof loraConfig>

export interface LoraAdapter {
  readonly config: LoraConfig
  /**
   * By module name and `.lora_A.weight` or `.lora_B.weight`, always in pairs; with DoRA also
   * `.lora_magnitude_vector`.
   */
  readonly tensors: ReadonlyMap<string, TensorData>
}

/** One adapted layer of an adapter file. */
export interface LoraModule {
  readonly module: string
  /** (r, in) */
  readonly a: TensorData
  /** (out, r) */
  readonly b: TensorData
  /** The factor on B·A. */
  readonly scale: number
  /** DoRA's row norms, (out). */
  readonly magnitude: TensorData | undefined
}

/** The adapter layer by layer, in the order of its tensors. */
export function loraModules({ config, tensors }: LoraAdapter): LoraModule[] {
  return [...tensors].flatMap(([name, a]) => {
    const module = name.endsWith(suffixA) ? name.slice(0, -suffixA.length) : undefined
    const b = module === undefined ? undefined : tensors.get(module + suffixB)
    if (module === undefined || b === undefined) return []
    const magnitude = tensors.get(module + suffixMagnitude)
    return [{ module, a, b, scale: layerScale(config, module), magnitude }]
  })
}

/** Says what is wrong with an adapter's pairs, if anything: names, shapes or rank. */
export function pairProblem({ config, tensors }: LoraAdapter): string | undefined {
  if (tensors.size === 0) return 'it has no tensors'
  for (const [name, { shape, data }] of tensors) {
    const suffix = [suffixA, suffixB, suffixMagnitude].find((end) => name.endsWith(end))
    if (suffix === undefined) return `${name} is neither lora_A nor lora_B`
    const module = name.slice(0, -suffix.length)
    const isMagnitude = suffix === suffixMagnitude
    if (isMagnitude && !config.use_dora) return `${name} belongs to DoRA, but use_dora is false`
    const needed = [suffixA, suffixB, ...(config.use_dora ? [suffixMagnitude] : [])]
    const missing = needed.find((end) => !tensors.has(module + end))
    if (missing !== undefined) return `${name} has no ${module}${missing}`
    const elements = shape.reduce((product, size) => product * size, 1)
    if (shape.length !== (isMagnitude ? 1 : 2) || data.length !== elements)
      return `${name} is not a ${isMagnitude ? 'vector' : 'matrix'} of its shape`
    const rank = layerRank(config, module)
    if (!isMagnitude && shape[suffix === suffixA ? 0 : 1] !== rank)
      return `${name} is ${shape.join('×')}, but the rank is ${rank}`
    const rows = tensors.get(module + suffixB)?.shape[0]
    if (isMagnitude && shape[0] !== rows) return `${name} has ${shape[0]} entries for ${rows} rows`
  }
  return undefined
}
