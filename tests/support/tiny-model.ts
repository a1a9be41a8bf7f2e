/**
 * A tiny seeded Llama as a GGUF file, with a tokenizer of single bytes and a ChatML template: the real engine
 * trains and serves it in seconds.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { seededRandom } from '../../src/lib/random.ts'
import { type GgufTensorSpec, writeGguf } from '../engine/gguf-writer.ts'

const layers = 2
const heads = 4
const keyValueHeads = 2

const template =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

/** Writes the model into a folder and returns its path; the same seed gives the same bytes. @param hidden its width */
export function writeTinyModel(folder: string, seed = 7, hidden = 48): string {
  const intermediate = 2 * hidden
  const tokens = ['<|im_start|>', '<|im_end|>', ...byteAlphabet()]
  const draw = drawer(seed)
  const headSize = hidden / heads
  const keyValueSize = headSize * keyValueHeads
  const block = (layer: number): GgufTensorSpec[] => [
    ones(`blk.${layer}.attn_norm.weight`, hidden),
    draw(`blk.${layer}.attn_q.weight`, hidden, hidden),
    draw(`blk.${layer}.attn_k.weight`, keyValueSize, hidden),
    draw(`blk.${layer}.attn_v.weight`, keyValueSize, hidden),
    draw(`blk.${layer}.attn_output.weight`, hidden, hidden),
    ones(`blk.${layer}.ffn_norm.weight`, hidden),
    draw(`blk.${layer}.ffn_gate.weight`, intermediate, hidden),
    draw(`blk.${layer}.ffn_up.weight`, intermediate, hidden),
    draw(`blk.${layer}.ffn_down.weight`, hidden, intermediate),
  ]
  const bytes = writeGguf({
    fields: [
      ['general.architecture', ['string', 'llama']],
      ['llama.block_count', ['u32', layers]],
      ['llama.context_length', ['u32', 512]],
      ['llama.embedding_length', ['u32', hidden]],
      ['llama.feed_forward_length', ['u32', intermediate]],
      ['llama.attention.head_count', ['u32', heads]],
      ['llama.attention.head_count_kv', ['u32', keyValueHeads]],
      ['llama.attention.layer_norm_rms_epsilon', ['f32', 1e-5]],
      ['tokenizer.ggml.model', ['string', 'gpt2']],
      ['tokenizer.ggml.pre', ['string', 'smollm']],
      ['tokenizer.ggml.tokens', ['strings', tokens]],
      ['tokenizer.ggml.token_type', ['i32s', tokens.map((_, id) => (id < 2 ? 3 : 1))]],
      ['tokenizer.ggml.merges', ['strings', []]],
      ['tokenizer.ggml.bos_token_id', ['u32', 0]],
      ['tokenizer.ggml.eos_token_id', ['u32', 1]],
      ['tokenizer.chat_template', ['string', template]],
    ],
    tensors: [
      draw('token_embd.weight', tokens.length, hidden),
      ...Array.from({ length: layers }, (_, layer) => block(layer)).flat(),
      ones('output_norm.weight', hidden),
    ],
  })
  mkdirSync(folder, { recursive: true })
  const path = join(folder, 'tiny-llama.gguf')
  writeFileSync(path, bytes)
  return path
}

/** Uniform in ±√(3 / columns), so that a row times a normalised vector has variance 1. */
function drawer(seed: number): (name: string, rows: number, columns: number) => GgufTensorSpec {
  const random = seededRandom(seed)
  return (name, rows, columns) => {
    const bound = Math.sqrt(3 / columns)
    const values = Float32Array.from({ length: rows * columns }, () => (2 * random() - 1) * bound)
    return { name, shape: [rows, columns], type: 0, data: new Uint8Array(values.buffer) }
  }
}

function ones(name: string, size: number): GgufTensorSpec {
  return { name, shape: [size], type: 0, data: new Uint8Array(new Float32Array(size).fill(1).buffer) }
}

/** GPT-2's printable stand-ins for the 256 bytes, in the order of the bytes. */
function byteAlphabet(): string[] {
  let moved = 0
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
    return String.fromCharCode(printable ? byte : 256 + moved++)
  })
}
