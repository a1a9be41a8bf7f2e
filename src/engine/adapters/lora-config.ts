/** What an adapter's configuration says of each layer, by PEFT's rules. Loads no native code. */
import { z } from 'zod'
import { ShadowError } from '../../lib/error.ts'
import { parseOptions } from '../options.ts'

/** `all`: every linear layer of the blocks; a list: layers by name, or by the end of their dotted path. */
export type TargetModules = 'all' | 'attention' | 'mlp' | readonly string[]

/** Values of layers that differ, by a regular expression for the end of their path. */
export type LayerPattern = Readonly<Record<string, number>>

/** PEFT's names; defaults are the caller's business (TrainConfig), but for those named here. */
export interface LoraConfig {
  /** Rank: the columns of B and the rows of A. From 1. */
  r: number
  /** B·A is scaled by lora_alpha / r. Above 0. */
  lora_alpha: number
  /** Share of the elements of a layer's input that its factors do not see while training, 0 to below 1. */
  lora_dropout: number
  /** Which linear layers get factors. */
  target_modules: TargetModules
  /** Scale by lora_alpha / √r (arXiv 2312.03732) instead of lora_alpha / r. Default false. */
  use_rslora?: boolean
  /** Learn the length of each row of the sum apart from its direction (DoRA, arXiv 2402.09353). Default false. */
  use_dora?: boolean
  /** Ranks of layers that differ from `r`. */
  rank_pattern?: LayerPattern
  /** Alphas of layers that differ from `lora_alpha`. */
  alpha_pattern?: LayerPattern
}

const loraConfig = z.strictObject({
  r: z.int().positive(),
  lora_alpha: z.number().positive(),
  lora_dropout: z.number().nonnegative().lt(1),
  target_modules: z.union([z.enum(['all', 'attention', 'mlp']), z.array(z.string()).min(1)]),
  use_rslora: z.boolean().optional(),
  use_dora: z.boolean().optional(),
  rank_pattern: z.record(z.string(), z.int().positive()).optional(),
  alpha_pattern: z.record(z.string(), z.number().positive()).optional(),
})

/** @throws ShadowError `invalid_config` naming the field */
export function checkLoraConfig(config: LoraConfig): void {
  parseOptions(loraConfig, config, 'adapter')
}

/** @throws ShadowError `invalid_config` naming a pattern that no adapted layer matches: it would do nothing */
export function checkPatterns(config: LoraConfig, layers: readonly { readonly path: string }[]): void {
  for (const field of ['rank_pattern', 'alpha_pattern'] as const)
    for (const key of Object.keys(config[field] ?? {}))
      if (!layers.some(({ path }) => expression(key).test(path)))
        throw new ShadowError(
          'invalid_config',
          `${field} names ${JSON.stringify(key)}, which no adapted layer matches.`,
          { hint: `A layer's path is like ${layers[0]?.path}; a pattern stands for its end.` },
        )
}

interface Scaling {
  readonly r: number
  readonly lora_alpha: number
  readonly use_rslora?: boolean | undefined
  readonly rank_pattern?: LayerPattern | null | undefined
  readonly alpha_pattern?: LayerPattern | null | undefined
}

/** The rank of the layer at `path`. */
export function layerRank({ r, rank_pattern }: Pick<Scaling, 'r' | 'rank_pattern'>, path: string): number {
  return valueOf(rank_pattern, path) ?? r
}

/** The factor on B·A of the layer at `path`. */
export function layerScale(config: Scaling, path: string): number {
  const r = layerRank(config, path)
  const alpha = valueOf(config.alpha_pattern, path) ?? config.lora_alpha
  return alpha / (config.use_rslora === true ? Math.sqrt(r) : r)
}

/** PEFT's `get_pattern_key`: the first entry whose expression matches the path, or its end behind a dot. */
function valueOf(pattern: LayerPattern | null | undefined, path: string): number | undefined {
  const key = Object.keys(pattern ?? {}).find((name) => expression(name).test(path))
  return key === undefined ? undefined : pattern?.[key]
}

function expression(key: string): RegExp {
  const problem = patternProblem(key)
  if (problem !== null)
    throw new ShadowError('invalid_config', `The pattern ${JSON.stringify(key)} ${problem}.`)
  return new RegExp(`^(?:.*\\.)?(?:${key})$`)
}

const longestPattern = 200
/** With more, a pattern could take longer to fail than anyone waits. */
const mostRepeats = 4

/** What speaks against a pattern for layers, as the end of a sentence; null for one that can be used. */
export function patternProblem(key: string): string | null {
  if (key.length > longestPattern) return `is longer than ${longestPattern} characters`
  const withoutSets = key.replaceAll(/\\./g, 'x').replaceAll(/\[[^\]]*\]/g, 'x')
  if (/\)[*+{]/.test(withoutSets)) return 'repeats a group, which can take for ever'
  if ((withoutSets.match(/[*+{]/g)?.length ?? 0) > mostRepeats)
    return `repeats more than ${mostRepeats} times`
  if (/\\[1-9kAZpP]|\(\?/.test(key)) return 'uses what only Python or only JavaScript knows'
  try {
    return new RegExp(key) instanceof RegExp ? null : 'is not a regular expression'
  } catch {
    return 'is not a regular expression'
  }
}

/**
 * The layers that `target` names, in the model's order.
 * @throws ShadowError `invalid_config` naming what the model does not have
 */
export function targetLayers<T extends { readonly path: string }>(
  linears: readonly T[],
  target: TargetModules,
): T[] {
  if (target === 'all') return [...linears]
  if (target === 'attention') return linears.filter(({ path }) => path.includes('.self_attn.'))
  if (target === 'mlp') return linears.filter(({ path }) => path.includes('.mlp.'))
  const named = (path: string, name: string): boolean => path === name || path.endsWith(`.${name}`)
  const missing = target.filter((name) => !linears.some(({ path }) => named(path, name)))
  if (missing.length > 0)
    throw new ShadowError('invalid_config', `The model has no layer named ${missing.join(', ')}.`, {
      hint: `target_modules may name: ${[...new Set(linears.map(({ path }) => path.split('.').at(-1)))].join(', ')}.`,
    })
  return linears.filter(({ path }) => target.some((name) => named(path, name)))
}
