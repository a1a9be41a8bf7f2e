/**
 * LoRA adapters in PEFT's format: a folder with `adapter_config.json` and `adapter_model.safetensors`.
 * Tensors are named after the module they adapt: `model.layers.0.self_attn.q_proj.lora_A.weight` (r, in)
 * and `….lora_B.weight` (out, r); in the file each name has the prefix `base_model.model.`.
 */
import { join } from 'node:path'
import { z } from 'zod'
import { ShadowError } from '../../lib/error.ts'
import { writeFileAtomically } from '../../lib/files.ts'
import { fileProblem } from './file-problem.ts'
import { readJsonObject } from './json-file.ts'
import { encodeSafetensors, openSafetensors, type TensorData } from './safetensors.ts'

const configFile = 'adapter_config.json'
const damagedHint =
  'The adapter is damaged or of a kind that is not supported; export it again as plain LoRA.'
const tensorFile = 'adapter_model.safetensors'
const prefix = 'base_model.model.'
const suffixA = '.lora_A.weight'
const suffixB = '.lora_B.weight'
/** DoRA's row norms (out). */
const suffixMagnitude = '.lora_magnitude_vector'

/** Layers by name or by the end of their name; `^` before a name allows nothing in front of it. */
const pattern = z.record(
  z.string().regex(/^\^?[\w.-]+$/, 'regular expressions are not supported'),
  z.number().positive(),
)

/**
 * The fields of `adapter_config.json` that this engine honours. Others are kept as they came; those that
 * would change what the adapter computes are refused when set (see `refusedFields`).
 */
const loraConfig = z.looseObject({
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

/** What a plain LoRA adapter says of itself, for PEFT to load it. */
const plainFields = {
  alpha_pattern: {},
  auto_mapping: null,
  bias: 'none',
  fan_in_fan_out: false,
  inference_mode: true,
  init_lora_weights: true,
  layers_pattern: null,
  layers_to_transform: null,
  modules_to_save: null,
  rank_pattern: {},
  revision: null,
  task_type: 'CAUSAL_LM',
  use_dora: false,
}

/** Fields that change what an adapter computes and that are not honoured, with their harmless values. */
const refusedFields: Readonly<Record<string, readonly unknown[]>> = {
  bias: ['none'],
  fan_in_fan_out: [false],
  use_qalora: [false],
  use_bdlora: [false, null],
  lora_bias: [false],
  modules_to_save: [null],
  layer_replication: [null],
  trainable_token_indices: [null],
  target_parameters: [null],
  alora_invocation_tokens: [null],
  arrow_config: [null],
  kasa_config: [null],
  monteclora_config: [null],
}

/** The rank of one module, by PEFT's rule: the first entry of `rank_pattern` that its name ends with. */
export function loraRank({ r, rank_pattern }: LoraConfig, module: string): number {
  return patternValue(rank_pattern, module) ?? r
}

/** The factor on B·A·x of one module: α/r, or α/√r with `use_rslora`. */
export function loraScale(config: LoraConfig, module = ''): number {
  const r = loraRank(config, module)
  const alpha = patternValue(config.alpha_pattern, module) ?? config.lora_alpha
  return alpha / (config.use_rslora ? Math.sqrt(r) : r)
}

function patternValue(
  values: z.infer<typeof pattern> | null | undefined,
  module: string,
): number | undefined {
  const key = Object.keys(values ?? {}).find(
    (name) => module === name.replace(/^\^/, '') || (!name.startsWith('^') && module.endsWith(`.${name}`)),
  )
  return key === undefined ? undefined : values?.[key]
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
    return [{ module, a, b, scale: loraScale(config, module), magnitude }]
  })
}

/**
 * Writes an adapter. The tensors go first and the config last, each atomically, so that a folder with a
 * config is complete. The same adapter always gives the same bytes.
 * @throws ShadowError `invalid_request` if the tensors are not pairs of rank `config.r`
 */
export async function saveAdapter(folder: string, adapter: LoraAdapter): Promise<void> {
  const problem = pairProblem(adapter)
  if (problem !== undefined)
    throw new ShadowError('invalid_request', `The adapter cannot be saved: ${problem}.`)
  const named = new Map([...adapter.tensors].map(([name, tensor]) => [prefix + name, tensor]))
  await writeFileAtomically(join(folder, tensorFile), encodeSafetensors(named, { format: 'pt' }))
  const fields = Object.entries({ ...plainFields, ...adapter.config }).toSorted(([a], [b]) =>
    a < b ? -1 : 1,
  )
  const json = JSON.stringify(Object.fromEntries(fields), null, 2)
  await writeFileAtomically(join(folder, configFile), json)
}

/**
 * Reads an adapter that PEFT or Shadow wrote.
 * @throws ShadowError `not_found`, or `invalid_file` naming the file and the field
 */
export function loadAdapter(folder: string): LoraAdapter {
  const config = loadConfig(join(folder, configFile))
  const path = join(folder, tensorFile)
  using file = openSafetensors(path)
  const tensors = new Map<string, TensorData>()
  for (const [name, stored] of file.tensors) {
    if (!name.startsWith(prefix)) throw invalid(path, `tensor ${name}`, `does not start with ${prefix}`)
    tensors.set(name.slice(prefix.length), { shape: stored.shape, data: stored.read() })
  }
  const problem = pairProblem({ config, tensors })
  if (problem !== undefined) throw invalid(path, 'tensors', problem)
  return { config, tensors }
}

function loadConfig(path: string): LoraConfig {
  const content = readJsonObject(path, damagedHint)
  const parsed = loraConfig.safeParse(content)
  if (!parsed.success) throw invalid(path, 'content', z.prettifyError(parsed.error))
  for (const [field, harmless] of Object.entries(refusedFields))
    if (field in parsed.data && !harmless.includes(parsed.data[field]))
      throw invalid(path, field, `${JSON.stringify(parsed.data[field])} is not supported`)
  return parsed.data
}

/** Says what is wrong with the pairs, if anything: names, shapes or rank. */
function pairProblem({ config, tensors }: LoraAdapter): string | undefined {
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
    const rank = loraRank(config, module)
    if (!isMagnitude && shape[suffix === suffixA ? 0 : 1] !== rank)
      return `${name} is ${shape.join('×')}, but the rank is ${rank}`
    const rows = tensors.get(module + suffixB)?.shape[0]
    if (isMagnitude && shape[0] !== rows) return `${name} has ${shape[0]} entries for ${rows} rows`
  }
  return undefined
}

function invalid(path: string, field: string, problem: string): ShadowError {
  return fileProblem(path, field, problem, damagedHint)
}
