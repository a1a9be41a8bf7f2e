/** What the configurations of all decoder families have in common, under the names and defaults of `transformers`. */
import { z } from 'zod'
import { ShadowError } from '../../lib/error.ts'
import type { BlockSpec } from '../nn/decoder-block.ts'
import type { Activation } from '../tensor/fused.ts'
import type { RopeSettings } from '../nn/rope-frequencies.ts'
import type { Architecture } from './architecture.ts'

export const count = z.number().int().positive()

/** May be missing or null; null then. */
export function optional<T>(schema: z.ZodType<T>) {
  return schema.nullish().transform((value) => value ?? null)
}

/** Names in `hidden_act` → what they compute. */
const activations: Readonly<Record<string, Activation>> = {
  silu: 'silu',
  swish: 'silu',
  gelu_pytorch_tanh: 'gelu_tanh',
  gelu_new: 'gelu_tanh',
}

export const activationName = z.string().refine((name) => name in activations, {
  error: ({ input }) => `${String(input)} is not supported (${Object.keys(activations).join(', ')} are)`,
})

/** Frequencies: `rope_parameters` of transformers 5, or `rope_scaling` and `rope_theta` of older files. */
export const ropeFields = {
  rope_theta: optional(z.number().positive()),
  rope_scaling: optional(z.looseObject({})),
  rope_parameters: optional(z.looseObject({})),
  partial_rotary_factor: optional(z.number().positive().max(1)),
  original_max_position_embeddings: optional(count),
}

/** Those that may stand within `rope_parameters` as well as beside it. */
const scalarRopeFields = z.object({
  rope_theta: ropeFields.rope_theta,
  partial_rotary_factor: ropeFields.partial_rotary_factor,
})

/** The fields of `config.json` that decide the arithmetic of every family. */
export const decoderFields = {
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count.max(10_000),
  num_attention_heads: count,
  /** Default: num_attention_heads. */
  num_key_value_heads: optional(count),
  /** Default: hidden_size / num_attention_heads. */
  head_dim: optional(count),
  hidden_act: activationName.default('silu'),
  rms_norm_eps: z.number().positive().default(1e-6),
  max_position_embeddings: count,
  tie_word_embeddings: z.boolean().default(false),
  ...ropeFields,
}

const decoderSchema = z.object(decoderFields)
export type DecoderConfig = z.output<typeof decoderSchema>

/** Which layers see only a window: one entry a layer. */
export const layerTypes = optional(z.array(z.enum(['full_attention', 'sliding_attention'])))

/** Fields that would change the result and that no family honours, with their harmless values. */
const neverHonoured: Readonly<Record<string, readonly unknown[]>> = {
  quantization_config: [null],
  attn_logit_softcapping: [null],
  final_logit_softcapping: [null],
  use_bidirectional_attention: [false, null],
}

/** The same for families that do not name these fields in their schema. */
const rarelyHonoured: Readonly<Record<string, readonly unknown[]>> = {
  attention_bias: [false, null],
  mlp_bias: [false, null],
  lm_head_bias: [false, null],
}

/** @throws ShadowError `invalid_config`, naming the field, for a configuration that cannot be computed as it says */
export function parseConfig<T extends z.ZodRawShape>(
  modelType: string,
  schema: z.ZodObject<T>,
  config: unknown,
): z.output<z.ZodObject<T>> {
  const raw = z.looseObject({}).safeParse(config).data ?? {}
  const rare = Object.entries(rarelyHonoured).filter(([field]) => !(field in schema.shape))
  for (const [field, harmless] of [...Object.entries(neverHonoured), ...rare])
    if (field in raw && raw[field] !== undefined && !harmless.includes(raw[field]))
      throw unsupported(modelType, field, raw[field])
  const parsed = schema.safeParse(config)
  if (parsed.success) return parsed.data
  throw new ShadowError(
    'invalid_config',
    `Not a ${modelType} configuration: ${z.prettifyError(parsed.error)}`,
    { hint: 'Look at the named field of config.json.' },
  )
}

/** The error for a field that means something this engine does not compute. */
export function unsupported(modelType: string, field: string, value: unknown): ShadowError {
  const shown = JSON.stringify(value) ?? String(value)
  return new ShadowError(
    'invalid_config',
    `${modelType} with ${field} = ${shown.length > 80 ? `${shown.slice(0, 80)}…` : shown} is not supported.`,
    { hint: 'Choose a model without it; ignoring the field would give other numbers than its makers meant.' },
  )
}

function headDimOf(config: DecoderConfig): number {
  return config.head_dim ?? config.hidden_size / config.num_attention_heads
}

export interface RopeOptions {
  /** `rope_theta` where the file names none. */
  theta?: number
  /** Whether the family turns a part of each head only. Default false. */
  partial?: boolean
}

/** @throws ShadowError `invalid_config` for a part of each head where the family turns whole ones */
export function ropeSettings(
  modelType: string,
  config: DecoderConfig,
  { theta = 10_000, partial = false }: RopeOptions = {},
): RopeSettings {
  const headDim = headDimOf(config)
  const parameters = config.rope_scaling ?? config.rope_parameters ?? {}
  if ('full_attention' in parameters || 'sliding_attention' in parameters)
    throw unsupported(modelType, 'rope_parameters', parameters)
  const own = scalarRopeFields.safeParse(parameters)
  if (!own.success) throw new ShadowError('invalid_config', `rope_parameters: ${z.prettifyError(own.error)}`)
  const share = own.data.partial_rotary_factor ?? config.partial_rotary_factor ?? 1
  if (share !== 1 && !partial) throw unsupported(modelType, 'partial_rotary_factor', share)
  const dim = Math.trunc(headDim * share)
  if (share !== 1 && (dim < 2 || dim % 2 !== 0)) throw unsupported(modelType, 'partial_rotary_factor', share)
  const original = config.original_max_position_embeddings
  return {
    dim,
    theta: own.data.rope_theta ?? config.rope_theta ?? theta,
    maxPositions: config.max_position_embeddings,
    scaling: original === null ? parameters : { ...parameters, original_max_position_embeddings: original },
  }
}

/** What a layer of a family has of its own; the rest is Llama's. */
export type LayerDifferences = Partial<Omit<BlockSpec, 'heads'>> & {
  /** How many tokens a token sees, itself included; null: all before it. */
  window?: number | null
  /** Multiplies the scores. Default 1/√head_dim. */
  scale?: number
}

export interface ModelDifferences {
  layer?: (index: number) => LayerDifferences
  embeddingScale?: number
  normOffset?: number
}

/**
 * Llama's arithmetic with what the family changes.
 * @throws ShadowError `invalid_config` when the heads do not divide the width
 */
export function decoderArchitecture(
  config: DecoderConfig,
  rotations: readonly RopeSettings[],
  { layer = () => ({}), embeddingScale = 1, normOffset = 0 }: ModelDifferences = {},
): Architecture {
  const { num_attention_heads: query, hidden_size: hiddenSize, intermediate_size: intermediateSize } = config
  const key = config.num_key_value_heads ?? query
  const dim = headDimOf(config)
  if (!Number.isInteger(dim) || dim % 2 !== 0)
    throw new ShadowError('invalid_config', `head_dim is ${dim}; rotary embedding needs an even integer.`)
  if (query % key !== 0)
    throw new ShadowError('invalid_config', 'num_attention_heads must be a multiple of num_key_value_heads.')
  const layers = Array.from({ length: config.num_hidden_layers }, (_, index): BlockSpec => {
    const { window = null, scale, ...own } = layer(index)
    return {
      hiddenSize,
      intermediateSize,
      heads: { query, key, dim, ...(scale !== undefined && { scale }), ...(window !== null && { window }) },
      normEps: config.rms_norm_eps,
      normOffset,
      qkNorm: false,
      sandwichNorms: false,
      activation: activations[config.hidden_act] ?? 'silu',
      biases: { qkv: false, output: false, mlp: false },
      fusedLinears: false,
      rotation: 0,
      ...own,
    }
  })
  return {
    vocabularySize: config.vocab_size,
    hiddenSize,
    maxPositions: config.max_position_embeddings,
    embeddingScale,
    tiedEmbeddings: config.tie_word_embeddings,
    normEps: config.rms_norm_eps,
    normOffset,
    rotations,
    layers,
  }
}
