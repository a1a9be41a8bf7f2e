/** Tensor names of GGUF files, and how their content differs from Hugging Face's. */
import { type Architecture, architectureTensors } from '../models/architecture.ts'

export interface GgufTensorName {
  /** The name in Hugging Face's checkpoints. */
  readonly name: string
  readonly shape: readonly number[]
  /** Number of heads whose rows llama.cpp's converter interleaved for its own rope. */
  readonly permutedHeads?: number
  /** What the file's values are larger by. */
  readonly offset?: number
}

/** Families whose rope in llama.cpp turns neighbouring columns, for which their converter reorders rows. */
const permutedFamilies: ReadonlySet<string> = new Set(['llama', 'mistral', 'smollm3'])

/** Tensors that belong to the settings: divisors of rope's frequencies. */
export const ropeTensors: readonly string[] = [
  'rope_freqs.weight',
  'rope_factors_long.weight',
  'rope_factors_short.weight',
]

const outerNames: Readonly<Record<string, string>> = {
  'model.embed_tokens': 'token_embd',
  'model.norm': 'output_norm',
  lm_head: 'output',
}

const layerNames: Readonly<Record<string, string>> = {
  input_layernorm: 'attn_norm',
  'self_attn.q_proj': 'attn_q',
  'self_attn.k_proj': 'attn_k',
  'self_attn.v_proj': 'attn_v',
  'self_attn.qkv_proj': 'attn_qkv',
  'self_attn.o_proj': 'attn_output',
  'self_attn.q_norm': 'attn_q_norm',
  'self_attn.k_norm': 'attn_k_norm',
  post_attention_layernorm: 'ffn_norm',
  'mlp.gate_proj': 'ffn_gate',
  'mlp.up_proj': 'ffn_up',
  'mlp.gate_up_proj': 'ffn_up',
  'mlp.down_proj': 'ffn_down',
}

/** With norms on both sides of attention and MLP. */
const sandwichNames: Readonly<Record<string, string>> = {
  ...layerNames,
  post_attention_layernorm: 'post_attention_norm',
  pre_feedforward_layernorm: 'ffn_norm',
  post_feedforward_layernorm: 'post_ffw_norm',
}

/** Every tensor of a model: its name in GGUF files → its name and shape in Hugging Face's layout. */
export function ggufTensorNames(modelType: string, architecture: Architecture): Map<string, GgufTensorName> {
  const names = new Map<string, GgufTensorName>()
  for (const [name, shape] of architectureTensors(architecture)) {
    const [, layer, inner = '', kind = ''] =
      /^(?:model\.layers\.(\d+)\.)?(.+)\.(weight|bias)$/.exec(name) ?? []
    const isHead = layer === undefined && inner === 'lm_head'
    if (isHead && architecture.tiedEmbeddings) continue
    const spec = layer === undefined ? undefined : architecture.layers[Number(layer)]
    const stem =
      spec === undefined ? outerNames[inner] : (spec.sandwichNorms ? sandwichNames : layerNames)[inner]
    if (stem === undefined) continue
    const heads = { 'self_attn.q_proj': spec?.heads.query, 'self_attn.k_proj': spec?.heads.key }
    const permuted = permutedFamilies.has(modelType)
      ? Object.entries(heads).find(([path]) => path === inner)
      : undefined
    const offset = inner.endsWith('norm') ? architecture.normOffset : 0
    names.set(`${layer === undefined ? '' : `blk.${layer}.`}${stem}.${kind}`, {
      name,
      shape,
      ...(permuted?.[1] !== undefined && { permutedHeads: permuted[1] }),
      ...(offset !== 0 && { offset }),
    })
  }
  return names
}
