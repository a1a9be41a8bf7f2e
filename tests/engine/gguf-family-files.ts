/** GGUF files of every family that llama.cpp knows, with the settings under its names, from the families' fixture. */
import { join } from 'node:path'
import type { Weight } from '../../src/engine/index.ts'
import type { GgufValue } from '../../src/engine/io/gguf-file.ts'
import { ggufTensorNames } from '../../src/engine/io/gguf-names.ts'
import { type GgufTensorToWrite, writeGguf } from '../../src/engine/io/gguf-write.ts'
import { permuteRows } from '../../src/engine/io/head-rows.ts'
import { architectureOf } from '../../src/engine/models/registry.ts'
import { type FamilyCase, familyWeights, readFamilies } from './families-fixture.ts'

export interface GgufFamilyFile {
  name: string
  /** The model with the settings that the file can hold. */
  family: FamilyCase
  path: string
}

type Extra = readonly [string, GgufValue][]

interface Plan {
  /** The case of the fixture. */
  from: string
  architecture: string
  /** What GGUF has no place for, so that it has to be its default. */
  changes?: Record<string, unknown>
  settings?: Extra
  /** Divisors of rope's frequencies. */
  factors?: Record<string, readonly number[]>
}

/** What `rope_parameters` of the fixture's llama3 scaling come to, by transformers' formula. */
function llama3Divisors(): number[] {
  return Array.from({ length: 4 }, (_, i) => {
    const frequency = 500 ** (-i / 4)
    const kept = Math.min(1, Math.max(0, ((16 * frequency) / (2 * Math.PI) - 1) / 3))
    return 1 / ((1 - kept) / 8 + kept)
  })
}

const plans: Record<string, Plan> = {
  llama: {
    from: 'llama with biases',
    architecture: 'llama',
    factors: { 'rope_freqs.weight': llama3Divisors() },
  },
  mistral: {
    from: 'mistral without a window',
    architecture: 'llama',
    settings: [
      ['llama.rope.scaling.type', 'linear'],
      ['llama.rope.scaling.factor', 2],
    ],
    changes: { rope_parameters: { rope_type: 'linear', factor: 2, rope_theta: 10_000 } },
  },
  qwen2: {
    from: 'qwen2 without windows',
    architecture: 'qwen2',
    settings: [
      ['qwen2.rope.scaling.type', 'yarn'],
      ['qwen2.rope.scaling.factor', 4],
      ['qwen2.rope.scaling.original_context_length', 16],
    ],
    changes: {
      rope_parameters: {
        rope_type: 'yarn',
        factor: 4,
        rope_theta: 10_000,
        original_max_position_embeddings: 16,
      },
    },
  },
  qwen3: { from: 'qwen3', architecture: 'qwen3', changes: { use_sliding_window: false, layer_types: null } },
  phi3: {
    from: 'phi3',
    architecture: 'phi3',
    changes: { sliding_window: null },
    settings: [['phi3.attention.sliding_window', 0]],
  },
  'phi3 longrope': {
    from: 'phi3, longrope',
    architecture: 'phi3',
    // llama.cpp makes no context of less than 256 tokens, and takes the long factors beyond the original length.
    changes: {
      max_position_embeddings: 1024,
      original_max_position_embeddings: 256,
      rope_parameters: {
        rope_type: 'longrope',
        rope_theta: 10_000,
        partial_rotary_factor: 0.75,
        short_factor: [1, 1.25, 1.5],
        long_factor: [1.5, 3, 6],
      },
    },
    settings: [
      ['phi3.attention.sliding_window', 0],
      ['phi3.rope.scaling.original_context_length', 256],
      ['phi3.rope.scaling.attn_factor', Math.sqrt(1 + Math.log(4) / Math.log(256))],
    ],
    factors: {
      'rope_factors_short.weight': [1, 1.25, 1.5],
      'rope_factors_long.weight': [1.5, 3, 6],
    },
  },
  smollm3: { from: 'smollm3', architecture: 'smollm3' },
  gemma3: {
    from: 'gemma3_text',
    architecture: 'gemma3',
    changes: { query_pre_attn_scalar: 8 },
    settings: [
      ['gemma3.attention.sliding_window', 4],
      ['gemma3.rope.scaling.type', 'linear'],
      ['gemma3.rope.scaling.factor', 8],
    ],
  },
}

/** Writes one file for each. */
export async function writeGgufFamilies(folder: string): Promise<GgufFamilyFile[]> {
  const cases = new Map(readFamilies())
  const files: GgufFamilyFile[] = []
  for (const [name, plan] of Object.entries(plans)) {
    const found = cases.get(plan.from)
    if (found === undefined) throw new Error(plan.from)
    const family = { ...found, config: { ...found.config, ...plan.changes } }
    const path = join(folder, `${name.replace(' ', '-')}.gguf`)
    await writeGguf(path, settingsOf(family, plan), tensorsOf(family, plan))
    files.push({ name, family, path })
  }
  return files
}

function settingsOf({ config }: FamilyCase, { architecture, settings = [] }: Plan): Map<string, GgufValue> {
  const { layers, maxPositions, hiddenSize, rotations } = architectureOf(config)
  const [layer] = layers
  const [rotation] = rotations
  if (layer === undefined || rotation === undefined) throw new Error('A model has layers.')
  const { heads } = layer
  const key = (name: string) => `${architecture}.${name}`
  const tokens = Array.from({ length: 41 }, (_, id) => (id < 3 ? `<${id}>` : String.fromCodePoint(0x21 + id)))
  return new Map<string, GgufValue>([
    ['general.architecture', architecture],
    ['general.file_type', 0],
    [key('block_count'), layers.length],
    [key('context_length'), maxPositions],
    [key('embedding_length'), hiddenSize],
    [key('feed_forward_length'), layer.intermediateSize],
    [key('attention.head_count'), heads.query],
    [key('attention.head_count_kv'), heads.key],
    [key('attention.key_length'), heads.dim],
    [key('attention.value_length'), heads.dim],
    [key('attention.layer_norm_rms_epsilon'), layer.normEps],
    [key('rope.dimension_count'), rotation.dim],
    [key('rope.freq_base'), rotation.theta],
    ...settings,
    ['tokenizer.ggml.model', 'gpt2'],
    ['tokenizer.ggml.pre', 'smollm'],
    ['tokenizer.ggml.tokens', tokens],
    ['tokenizer.ggml.token_type', Int32Array.from(tokens, (_, id) => (id < 3 ? 3 : 1))],
    ['tokenizer.ggml.merges', []],
    ['tokenizer.ggml.bos_token_id', 1],
    ['tokenizer.ggml.eos_token_id', 2],
    ['tokenizer.chat_template', '{{ messages[0].content }}'],
  ])
}

function tensorsOf(family: FamilyCase, { factors = {} }: Plan): GgufTensorToWrite[] {
  const weights = familyWeights(family)
  const names = ggufTensorNames(family.config.model_type, architectureOf(family.config))
  const tensors = [...names].map(([name, { name: from, permutedHeads, offset = 0 }]): GgufTensorToWrite => {
    const weight: Weight | undefined = weights.get(from)
    if (weight === undefined) throw new Error(`${from} is not in the fixture`)
    const data = Float32Array.from(weight.data, (value) => value + offset)
    const rows = weight.shape[0] ?? 1
    return {
      name,
      type: 'F32',
      shape: weight.shape,
      read: () => (permutedHeads === undefined ? data : permuteRows(data, rows, permutedHeads)),
    }
  })
  const divisors = Object.entries(factors).map(
    ([name, values]): GgufTensorToWrite => ({
      name,
      type: 'F32',
      shape: [values.length],
      read: () => Float32Array.from(values),
    }),
  )
  return [...divisors, ...tensors]
}
