/** How fast each pair of a head turns: rotary embedding's base frequencies and the ways to stretch them. */
import { z } from 'zod'
import { ShadowError } from '../../lib/error.ts'

const factor = z.number().min(1)

/** `rope_parameters` (or the older `rope_scaling`) of `config.json`, under Hugging Face's names. */
export const ropeScaling = z.discriminatedUnion('rope_type', [
  z.object({ rope_type: z.literal('default') }),
  z.object({ rope_type: z.literal('linear'), factor }),
  z.object({
    rope_type: z.literal('llama3'),
    factor,
    low_freq_factor: z.number().positive(),
    high_freq_factor: z.number().positive(),
    original_max_position_embeddings: z.number().int().positive().optional(),
  }),
  z.object({
    rope_type: z.literal('yarn'),
    factor,
    original_max_position_embeddings: z.number().int().positive().optional(),
    attention_factor: z.number().positive().nullish(),
    beta_fast: z.number().positive().nullish(),
    beta_slow: z.number().positive().nullish(),
    mscale: z.number().nullish(),
    mscale_all_dim: z.number().nullish(),
    truncate: z.boolean().default(true),
  }),
  z.object({ rope_type: z.literal('dynamic'), factor }),
  z.object({
    rope_type: z.literal('longrope'),
    /** Divides each pair's frequency, within the original length and beyond it. */
    short_factor: z.array(z.number().positive()),
    long_factor: z.array(z.number().positive()),
    factor: z.number().positive().nullish(),
    attention_factor: z.number().positive().nullish(),
    original_max_position_embeddings: z.number().int().positive().optional(),
  }),
])

export interface RopeSettings {
  /** The columns of a head that turn, even; the first ones. */
  dim: number
  theta: number
  /** max_position_embeddings, where the scaling names no original length. */
  maxPositions: number
  /** As the configuration has it; the type may be called `type` or `rope_type`. Default: no scaling. */
  scaling?: Readonly<Record<string, unknown>> | undefined
}

export interface RopeFrequencies {
  /** Radians a position, one for each pair of a head. */
  inverse: Float32Array
  /** Multiplies cosines and sines. */
  attentionFactor: number
  /**
   * Sequences of more than `than` tokens turn at other speeds, all their tokens; `inverse` gives them for a length.
   * Absent where the length does not matter.
   */
  longer?: { than: number; inverse(length: number): Float32Array }
}

const namedType = z.looseObject({ rope_type: z.string().optional(), type: z.string().optional() })

/** @throws ShadowError `invalid_config` for a type that is not here, or for missing numbers */
function readScaling(scaling: RopeSettings['scaling']): z.output<typeof ropeScaling> {
  if (scaling === undefined) return { rope_type: 'default' }
  const named = namedType.safeParse(scaling)
  const type = named.data?.rope_type ?? named.data?.type ?? 'default'
  const parsed = ropeScaling.safeParse({ ...named.data, rope_type: type })
  if (parsed.success) return parsed.data
  const known = ropeScaling.options.map((option) => option.shape.rope_type.value)
  throw new ShadowError(
    'invalid_config',
    known.some((name) => name === type)
      ? `The rope scaling ${type} is incomplete: ${z.prettifyError(parsed.error)}`
      : `The rope scaling ${type} is not supported.`,
    { hint: `Rope scalings that are: ${known.join(', ')}.` },
  )
}

function baseFrequencies(dim: number, theta: number): number[] {
  return Array.from({ length: dim / 2 }, (_, i) => 1 / Math.fround(theta ** Math.fround((2 * i) / dim)))
}

/**
 * θ^(−2i/dim), i = 0…dim/2−1, then scaled: `linear` divides all; `llama3` divides the slow ones and blends in
 * between; `yarn` (arXiv 2309.00071) blends by the turns within the original length and scales attention; `dynamic`
 * raises θ for sequences beyond the original length; `longrope` (arXiv 2402.13753) has one divisor a pair within the
 * original length and one beyond it.
 * Rounded to f32 where Hugging Face's `LlamaRotaryEmbedding` rounds its base, so that long positions agree.
 * @throws ShadowError `invalid_config`
 */
export function ropeFrequencies(settings: RopeSettings): RopeFrequencies {
  const found = scaledFrequencies(settings)
  if (Number.isFinite(found.attentionFactor) && found.inverse.every(Number.isFinite)) return found
  throw new ShadowError(
    'invalid_config',
    `Rope: θ = ${settings.theta} and its scaling give no finite angles.`,
  )
}

function scaledFrequencies({ dim, theta, maxPositions, ...settings }: RopeSettings): RopeFrequencies {
  const scaling = readScaling(settings.scaling)
  const base = baseFrequencies(dim, theta)
  switch (scaling.rope_type) {
    case 'default':
      return { inverse: Float32Array.from(base), attentionFactor: 1 }
    case 'linear':
      return {
        inverse: Float32Array.from(base, (frequency) => frequency / scaling.factor),
        attentionFactor: 1,
      }
    case 'llama3': {
      const { factor: by, low_freq_factor: low, high_freq_factor: high } = scaling
      if (high <= low)
        throw new ShadowError('invalid_config', 'Rope: high_freq_factor must be above low_freq_factor.')
      const original = scaling.original_max_position_embeddings ?? maxPositions
      const inverse = Float32Array.from(base, (frequency) => {
        const turns = (original * frequency) / (2 * Math.PI)
        const kept = Math.min(1, Math.max(0, (turns - low) / (high - low)))
        return (1 - kept) * (frequency / by) + kept * frequency
      })
      return { inverse, attentionFactor: 1 }
    }
    case 'yarn': {
      const original = scaling.original_max_position_embeddings ?? maxPositions
      const pairOf = (turns: number): number =>
        (dim * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta))
      const round = scaling.truncate
        ? { down: Math.floor, up: Math.ceil }
        : { down: (x: number) => x, up: (x: number) => x }
      const first = Math.max(round.down(pairOf(scaling.beta_fast ?? 32)), 0)
      const last = Math.min(round.up(pairOf(scaling.beta_slow ?? 1)), dim - 1)
      const inverse = Float32Array.from(base, (frequency, i) => {
        const stretched = Math.min(1, Math.max(0, (i - first) / (last === first ? 0.001 : last - first)))
        return (frequency / scaling.factor) * stretched + frequency * (1 - stretched)
      })
      const magnitude = (weight: number): number =>
        scaling.factor <= 1 ? 1 : 0.1 * weight * Math.log(scaling.factor) + 1
      const inferred =
        scaling.mscale && scaling.mscale_all_dim
          ? magnitude(scaling.mscale) / magnitude(scaling.mscale_all_dim)
          : magnitude(1)
      return { inverse, attentionFactor: scaling.attention_factor ?? inferred }
    }
    case 'dynamic':
      return {
        inverse: Float32Array.from(base),
        attentionFactor: 1,
        longer: {
          than: maxPositions,
          inverse(length) {
            const stretch = (scaling.factor * length) / maxPositions - (scaling.factor - 1)
            return Float32Array.from(baseFrequencies(dim, theta * stretch ** (dim / (dim - 2))))
          },
        },
      }
    case 'longrope': {
      const original = scaling.original_max_position_embeddings ?? maxPositions
      const divided = (factors: readonly number[]): Float32Array => {
        if (factors.length === base.length)
          return Float32Array.from(base, (frequency, i) => frequency / (factors[i] ?? 1))
        throw new ShadowError(
          'invalid_config',
          `Rope: longrope has ${factors.length} factors for ${base.length} pairs.`,
        )
      }
      const [short, long] = [divided(scaling.short_factor), divided(scaling.long_factor)]
      const by = scaling.factor ?? maxPositions / original
      const inferred = by <= 1 ? 1 : Math.sqrt(1 + Math.log(by) / Math.log(original))
      return {
        inverse: short,
        attentionFactor: scaling.attention_factor ?? inferred,
        longer: { than: original, inverse: () => long },
      }
    }
  }
}
