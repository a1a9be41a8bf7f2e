import type { Architecture } from '../models/architecture.ts'

export interface LlamaTensorName {
  /** The name in Hugging Face's checkpoints. */
  readonly name: string
  readonly shape: readonly number[]
  /** Number of heads whose rows llama.cpp's converter interleaved for its own rope. */
  readonly permutedHeads?: number
}

/** Every tensor of a Llama-family GGUF file: its name there → its name and shape in Hugging Face's layout. */
export function llamaTensorNames(architecture: Architecture): Map<string, LlamaTensorName> {
  const { vocabularySize, hiddenSize } = architecture
  const names = new Map<string, LlamaTensorName>([
    ['token_embd.weight', { name: 'model.embed_tokens.weight', shape: [vocabularySize, hiddenSize] }],
    ['output_norm.weight', { name: 'model.norm.weight', shape: [hiddenSize] }],
  ])
  if (!architecture.tiedEmbeddings)
    names.set('output.weight', { name: 'lm_head.weight', shape: [vocabularySize, hiddenSize] })
  architecture.layers.forEach(({ heads, intermediateSize }, i) => {
    const add = (from: string, to: string, shape: readonly number[], permutedHeads?: number): void => {
      const name = `model.layers.${i}.${to}.weight`
      names.set(`blk.${i}.${from}.weight`, { name, shape, ...(permutedHeads && { permutedHeads }) })
    }
    const [queries, keys] = [heads.query * heads.dim, heads.key * heads.dim]
    add('attn_norm', 'input_layernorm', [hiddenSize])
    add('attn_q', 'self_attn.q_proj', [queries, hiddenSize], heads.query)
    add('attn_k', 'self_attn.k_proj', [keys, hiddenSize], heads.key)
    add('attn_v', 'self_attn.v_proj', [keys, hiddenSize])
    add('attn_output', 'self_attn.o_proj', [hiddenSize, queries])
    add('ffn_norm', 'post_attention_layernorm', [hiddenSize])
    add('ffn_gate', 'mlp.gate_proj', [intermediateSize, hiddenSize])
    add('ffn_up', 'mlp.up_proj', [intermediateSize, hiddenSize])
    add('ffn_down', 'mlp.down_proj', [hiddenSize, intermediateSize])
  })
  return names
}

/**
 * Undoes the row order of `convert_hf_to_gguf.py`: within a head of D rows, the file's rows 2i and 2i+1 are
 * the rows i and i + D/2 that the rotate-half form of rope expects.
 * @param data (heads · D, columns), row-major
 */
export function unpermuteRows(
  data: Float32Array<ArrayBuffer>,
  rows: number,
  heads: number,
): Float32Array<ArrayBuffer>
export function unpermuteRows(
  data: Uint32Array<ArrayBuffer>,
  rows: number,
  heads: number,
): Uint32Array<ArrayBuffer>
export function unpermuteRows(
  data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>,
  rows: number,
  heads: number,
): Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> {
  const columns = data.length / rows
  const headRows = rows / heads
  const out = data.slice()
  for (let row = 0; row < rows; row++) {
    const inHead = row % headRows
    const target = row - inHead + (inHead >> 1) + (inHead & 1) * (headRows / 2)
    out.set(data.subarray(row * columns, (row + 1) * columns), target * columns)
  }
  return out
}

/** The inverse of `unpermuteRows`: rotate-half order → the order of GGUF files. */
export function permuteRows(
  data: Float32Array<ArrayBuffer>,
  rows: number,
  heads: number,
): Float32Array<ArrayBuffer> {
  const columns = data.length / rows
  const headRows = rows / heads
  const out = new Float32Array(data.length)
  for (let row = 0; row < rows; row++) {
    const inHead = row % headRows
    const source = row - inHead + (inHead >> 1) + (inHead & 1) * (headRows / 2)
    out.set(data.subarray(source * columns, (source + 1) * columns), row * columns)
  }
  return out
}
