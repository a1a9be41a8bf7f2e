/** Writes small GGUF files, right ones and wrong ones, for the tests of the reader. */

type Scalar = ['u32' | 'f32' | 'bool' | 'string' | 'u64', number | boolean | string | bigint]
type List = ['strings', readonly string[]] | ['i32s', readonly number[]]
/** Type id and value as they stand in the file. */
type Raw = ['raw', Uint8Array]
export type GgufField = Scalar | List | Raw

export interface GgufTensorSpec {
  name: string
  /** Outermost first. */
  shape: readonly (number | bigint)[]
  /** ggml type id; 0 is F32. */
  type: number
  data: Uint8Array
  /** Instead of the right one. */
  offset?: bigint
}

export interface GgufSpec {
  magic?: string
  version?: number
  tensorCount?: bigint
  fieldCount?: bigint
  fields?: readonly (readonly [string, GgufField])[]
  tensors?: readonly GgufTensorSpec[]
}

const alignment = 32

export function writeGguf({
  magic = 'GGUF',
  version = 3,
  fields = [],
  tensors = [],
  ...spec
}: GgufSpec): Buffer {
  const parts: Buffer[] = [
    Buffer.from(magic, 'latin1'),
    u32(version),
    u64(spec.tensorCount ?? BigInt(tensors.length)),
    u64(spec.fieldCount ?? BigInt(fields.length)),
  ]
  for (const [key, field] of fields) parts.push(text(key), fieldBytes(field))
  let offset = 0
  for (const tensor of tensors) {
    parts.push(text(tensor.name), u32(tensor.shape.length))
    for (const size of tensor.shape.toReversed()) parts.push(u64(BigInt(size)))
    parts.push(u32(tensor.type), u64(tensor.offset ?? BigInt(offset)))
    offset = padded(offset + tensor.data.length)
  }
  const header = Buffer.concat(parts)
  const data = tensors.map((tensor) => padTo(Buffer.from(tensor.data)))
  return Buffer.concat([tensors.length > 0 ? padTo(header) : header, ...data])
}

/** A whole Llama of one layer: width 4, 2 heads, a vocabulary of 5; every weight is its own number. */
export function tinyLlama(
  overrides: Record<string, GgufField | undefined> = {},
): GgufSpec & { tensors: GgufTensorSpec[] } {
  const fields: Record<string, GgufField | undefined> = {
    'general.architecture': ['string', 'llama'],
    'llama.block_count': ['u32', 1],
    'llama.context_length': ['u32', 64],
    'llama.embedding_length': ['u32', 8],
    'llama.feed_forward_length': ['u32', 6],
    'llama.attention.head_count': ['u32', 2],
    'llama.attention.head_count_kv': ['u32', 1],
    'llama.attention.layer_norm_rms_epsilon': ['f32', 1e-5],
    'tokenizer.ggml.model': ['string', 'gpt2'],
    'tokenizer.ggml.pre': ['string', 'smollm'],
    'tokenizer.ggml.tokens': ['strings', ['<|im_start|>', '<|im_end|>', 'a', 'b', 'ab']],
    'tokenizer.ggml.token_type': ['i32s', [3, 3, 1, 1, 1]],
    'tokenizer.ggml.merges': ['strings', ['a b']],
    'tokenizer.ggml.bos_token_id': ['u32', 0],
    'tokenizer.ggml.eos_token_id': ['u32', 1],
    ...overrides,
  }
  const f32 = (name: string, ...shape: number[]): GgufTensorSpec => ({
    name,
    shape,
    type: 0,
    data: numbers(shape),
  })
  return {
    fields: Object.entries(fields).flatMap(([key, field]) =>
      field === undefined ? [] : [[key, field] as const],
    ),
    tensors: [
      f32('token_embd.weight', 5, 8),
      f32('blk.0.attn_norm.weight', 8),
      f32('blk.0.attn_q.weight', 8, 8),
      f32('blk.0.attn_k.weight', 4, 8),
      f32('blk.0.attn_v.weight', 4, 8),
      f32('blk.0.attn_output.weight', 8, 8),
      f32('blk.0.ffn_norm.weight', 8),
      f32('blk.0.ffn_gate.weight', 6, 8),
      f32('blk.0.ffn_up.weight', 6, 8),
      f32('blk.0.ffn_down.weight', 8, 6),
      f32('output_norm.weight', 8),
    ],
  }
}

/** 0, 1, 2, … as float32. */
export function numbers(shape: readonly number[]): Uint8Array {
  const count = shape.reduce((product, size) => product * size, 1)
  return new Uint8Array(Float32Array.from({ length: count }, (_, i) => i).buffer)
}

function fieldBytes([type, value]: GgufField): Buffer {
  switch (type) {
    case 'u32':
      return Buffer.concat([u32(4), u32(Number(value))])
    case 'f32':
      return Buffer.concat([u32(6), Buffer.from(Float32Array.of(Number(value)).buffer)])
    case 'bool':
      return Buffer.concat([u32(7), Buffer.of(value ? 1 : 0)])
    case 'string':
      return Buffer.concat([u32(8), text(String(value))])
    case 'u64':
      return Buffer.concat([u32(10), u64(BigInt(value))])
    case 'raw':
      return Buffer.from(value)
    case 'strings':
      return Buffer.concat([u32(9), u32(8), u64(BigInt(value.length)), ...value.map(text)])
    case 'i32s':
      return Buffer.concat([
        u32(9),
        u32(5),
        u64(BigInt(value.length)),
        Buffer.from(Int32Array.from(value).buffer),
      ])
  }
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([u64(BigInt(bytes.length)), bytes])
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value))
  return bytes
}

function padded(length: number): number {
  return Math.ceil(length / alignment) * alignment
}

function padTo(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(padded(bytes.length) - bytes.length)])
}
