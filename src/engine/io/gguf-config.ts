/**
 * The settings of a GGUF file as a `config.json`.
 *
 * How to add a family: an entry in `families` under llama.cpp's name for the architecture, with what its settings say
 * beyond Llama's, and in gguf-names.ts the names of tensors that others don't have. tests/engine/gguf-families.test.ts
 * writes each, and llama.cpp computes the same from it.
 */
import type { ModelConfig } from '../models/family.ts'
import { fileProblem } from './file-problem.ts'
import type { FileWindow } from './file-window.ts'
import type { GgufFields } from './gguf-fields.ts'
import type { GgufHeader } from './gguf-file.ts'

interface Settings {
  readonly file: FileWindow
  readonly header: GgufHeader
  readonly fields: GgufFields
  readonly architecture: string
  readonly common: ReturnType<typeof commonConfig>
}

interface GgufFamily {
  readonly modelType: string
  /** Fields of its own, over those that all have. */
  own?(settings: Settings): Readonly<Record<string, unknown>>
}

/** By `general.architecture`. */
const families: Readonly<Record<string, GgufFamily>> = {
  llama: { modelType: 'llama', own: biases },
  qwen2: { modelType: 'qwen2' },
  qwen3: { modelType: 'qwen3' },
  smollm3: { modelType: 'smollm3', own: biases },
  phi3: {
    modelType: 'phi3',
    own: ({ fields, architecture, common }) => ({
      // 0 is how the converter writes none.
      sliding_window: fields.optional(`${architecture}.attention.sliding_window`, 'number') || null,
      partial_rotary_factor: common.rotated / common.head_dim,
      original_max_position_embeddings: fields.sizeOr(
        `${architecture}.rope.scaling.original_context_length`,
        common.max_position_embeddings,
      ),
    }),
  },
  gemma3: {
    modelType: 'gemma3_text',
    own: ({ fields, architecture, common }) => ({
      sliding_window: fields.size(`${architecture}.attention.sliding_window`),
      sliding_window_pattern: fields.sizeOr(`${architecture}.attention.sliding_window_pattern`, 6),
      rope_local_base_freq: fields.optional(`${architecture}.rope.freq_base_swa`, 'number') ?? 10_000,
      rope_theta: fields.optional(`${architecture}.rope.freq_base`, 'number') ?? 1_000_000,
      // llama.cpp takes the scale of the scores from the model's size: the 27B one has its own.
      query_pre_attn_scalar:
        common.num_hidden_layers === 62 ? common.hidden_size / common.num_attention_heads : common.head_dim,
      final_logit_softcapping: fields.optional(`${architecture}.final_logit_softcapping`, 'number') ?? null,
    }),
  },
}

/** llama.cpp's name for the architecture of a family; it has none of its own for mistral. */
export function ggufArchitecture(modelType: string): string {
  const found = Object.entries(families).find(([, family]) => family.modelType === modelType)
  return found?.[0] ?? 'llama'
}

/** The family of an architecture. @throws ShadowError `invalid_file` for one that is not read */
export function modelTypeOf(file: FileWindow, architecture: string): string {
  return familyOf(file, architecture).modelType
}

function familyOf(file: FileWindow, architecture: string): GgufFamily {
  const family = Object.hasOwn(families, architecture) ? families[architecture] : undefined
  if (family !== undefined) return family
  throw file.invalid(
    'general.architecture',
    `the model family ${architecture} is not supported (${Object.keys(families).join(', ')} are)`,
  )
}

/** Settings that would change the result, with their harmless value. */
const refused: Readonly<Record<string, number>> = {
  expert_count: 0,
  logit_scale: 1,
  residual_scale: 1,
  embedding_scale: 1,
  attn_logit_softcapping: 0,
  'attention.scale': 0,
  'rope.scale_linear': 1,
  'rope.scaling.yarn_ext_factor': 1,
  'rope.scaling.yarn_attn_factor': 1,
  'rope.scaling.yarn_log_multiplier': 0,
}

/** @throws ShadowError `invalid_file` for settings that are missing, wrong or of a family that is not read */
export function readGgufConfig(
  file: FileWindow,
  header: GgufHeader,
  fields: GgufFields,
): ModelConfig & { readonly num_hidden_layers: number } {
  if (fields.optional('general.type', 'string') === 'adapter')
    throw fileProblem(
      file.path,
      'metadata general.type',
      'this is a LoRA adapter for llama.cpp, not a model',
      'Name the base model that it is for, and this beside it.',
    )
  const architecture = fields.required('general.architecture', 'string')
  const family = familyOf(file, architecture)
  for (const [key, harmless] of Object.entries(refused)) {
    const value = fields.optional(`${architecture}.${key}`, 'number') ?? harmless
    if (value !== harmless) throw file.invalid(`metadata ${architecture}.${key}`, `${value} is not supported`)
  }
  const common = commonConfig(file, header, fields, architecture)
  const settings = { file, header, fields, architecture, common }
  const { rotated, ...config } = common
  if (rotated !== common.head_dim && architecture !== 'phi3')
    throw file.invalid(
      `${architecture}.rope.dimension_count`,
      `rope turns only ${rotated} of ${common.head_dim} columns`,
    )
  return {
    model_type: family.modelType,
    ...config,
    rope_scaling: ropeScaling(settings),
    ...family.own?.(settings),
  }
}

function commonConfig(file: FileWindow, header: GgufHeader, fields: GgufFields, architecture: string) {
  const key = (name: string): string => `${architecture}.${name}`
  const hiddenSize = fields.size(key('embedding_length'))
  const heads = fields.size(key('attention.head_count'))
  const keyValueHeads = fields.sizeOr(key('attention.head_count_kv'), heads)
  const headDim = fields.sizeOr(key('attention.key_length'), hiddenSize / heads)
  if (!Number.isInteger(headDim) || headDim % 2 !== 0 || heads % keyValueHeads !== 0)
    throw file.invalid(
      key('attention.head_count'),
      `${heads} heads (${keyValueHeads} for keys) do not divide a width of ${hiddenSize} into even parts`,
    )
  if (fields.sizeOr(key('attention.value_length'), headDim) !== headDim)
    throw file.invalid(key('attention.value_length'), `is not the ${headDim} of the keys`)
  const embedding = header.tensors.get('token_embd.weight')
  if (embedding === undefined) throw file.invalid('tensor token_embd.weight', 'is missing')
  return {
    hidden_size: hiddenSize,
    intermediate_size: fields.size(key('feed_forward_length')),
    num_hidden_layers: fields.size(key('block_count')),
    num_attention_heads: heads,
    num_key_value_heads: keyValueHeads,
    head_dim: headDim,
    /** Not a field of config.json: the columns of a head that turn. */
    rotated: fields.sizeOr(key('rope.dimension_count'), headDim),
    rms_norm_eps: fields.required(key('attention.layer_norm_rms_epsilon'), 'number'),
    rope_theta: fields.optional(key('rope.freq_base'), 'number') ?? 10_000,
    vocab_size: embedding.shape[0] ?? 0,
    tie_word_embeddings: !header.tensors.has('output.weight'),
    max_position_embeddings: fields.size(key('context_length')),
    bos_token_id: fields.optional('tokenizer.ggml.bos_token_id', 'number'),
    eos_token_id: fields.optional('tokenizer.ggml.eos_token_id', 'number'),
  }
}

function biases({ header }: Settings): Readonly<Record<string, boolean>> {
  return {
    attention_bias: header.tensors.has('blk.0.attn_q.bias'),
    mlp_bias: header.tensors.has('blk.0.ffn_gate.bias'),
  }
}

function ropeScaling(settings: Settings): Readonly<Record<string, unknown>> | null {
  const { file, header, fields, architecture, common } = settings
  const key = (name: string): string => `${architecture}.rope.scaling.${name}`
  const type = fields.optional(key('type'), 'string') ?? 'none'
  const original = fields.sizeOr(key('original_context_length'), common.max_position_embeddings)
  const attentionFactor = fields.optional(key('attn_factor'), 'number')
  const long = header.tensors.has('rope_factors_long.weight')
  const divided = header.tensors.has('rope_freqs.weight')
  if (divided && (type !== 'none' || long))
    throw file.invalid(key('type'), `${type} beside rope_freqs.weight is not supported`)
  if (long || type === 'longrope')
    return {
      rope_type: 'longrope',
      short_factor: ropeFactors(settings, 'rope_factors_short.weight'),
      long_factor: ropeFactors(settings, 'rope_factors_long.weight'),
      original_max_position_embeddings: original,
      ...(attentionFactor !== undefined && { attention_factor: attentionFactor }),
    }
  if (divided) {
    const factors = ropeFactors(settings, 'rope_freqs.weight')
    return {
      rope_type: 'longrope',
      short_factor: factors,
      long_factor: factors,
      attention_factor: 1,
      original_max_position_embeddings: common.max_position_embeddings,
    }
  }
  if (attentionFactor !== undefined && attentionFactor !== 1)
    throw file.invalid(`metadata ${key('attn_factor')}`, `${attentionFactor} is not supported`)
  if (type === 'none') return null
  const factor = fields.required(key('factor'), 'number')
  if (type === 'linear') return { rope_type: 'linear', factor }
  if (type !== 'yarn') throw file.invalid(key('type'), `rope scaling ${type} is not supported`)
  return {
    rope_type: 'yarn',
    factor,
    original_max_position_embeddings: original,
    beta_fast: fields.optional(key('yarn_beta_fast'), 'number'),
    beta_slow: fields.optional(key('yarn_beta_slow'), 'number'),
  }
}

/** One divisor for each pair of columns that turns. */
function ropeFactors({ file, header, common }: Settings, name: string): number[] {
  const tensor = header.tensors.get(name)
  const pairs = common.rotated / 2
  if (tensor === undefined) throw file.invalid(`tensor ${name}`, 'is missing')
  if (tensor.type.decode === undefined || tensor.shape.length !== 1 || tensor.shape[0] !== pairs)
    throw file.invalid(`tensor ${name}`, `is not one number for each of ${pairs} pairs`)
  return [...tensor.type.decode(file.bytes(tensor.start, tensor.bytes, `tensor ${name}`))]
}
