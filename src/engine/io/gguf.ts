/**
 * Models in GGUF files: settings, tensors and tokenizer of a Llama-family model in Hugging Face's names
 * and layout. How to add a family: a name table like llama-names.ts and a case in `readConfig`.
 */
import { builtFrom } from './file-problem.ts'
import { FileWindow } from './file-window.ts'
import { type GgufHeader, type GgufTensor, type GgufValue, readGgufHeader } from './gguf-file.ts'
import { isPackable, packBlocks } from './ggml-pack.ts'
import { readableTypes } from './ggml-types.ts'
import { type LlamaTensorName, llamaTensorNames, unpermuteRows } from './llama-names.ts'
import type { Architecture } from '../models/architecture.ts'
import type { ModelConfig } from '../models/family.ts'
import { architectureOf } from '../models/registry.ts'
import type { StoredTensor } from './stored-tensor.ts'

/** What a GGUF file says about its tokenizer (`tokenizer.ggml.*`). */
export interface GgufTokenizer {
  /** `gpt2` is byte-level BPE. */
  readonly model: string
  /** The pre-tokenizer's name, e.g. `smollm`. */
  readonly pre: string
  readonly tokens: readonly string[]
  /** llama.cpp's token types, one a token: 1 normal, 3 control, 4 user defined, … */
  readonly tokenTypes: Int32Array
  /** Pairs separated by one blank, best first. */
  readonly merges: readonly string[]
  readonly bosTokenId: number | undefined
  readonly eosTokenId: number | undefined
  readonly paddingTokenId: number | undefined
  readonly addBosToken: boolean
}

export interface GgufModel extends Disposable {
  readonly path: string
  readonly config: ModelConfig
  readonly architecture: Architecture
  /** By Hugging Face name, in the order of the file; query and key rows in rotate-half order. */
  readonly tensors: ReadonlyMap<string, StoredTensor>
  readonly tokenizer: GgufTokenizer
  /** A Jinja template. */
  readonly chatTemplate: string | undefined
}

/**
 * Opens a GGUF file. Only its header is read; tensors are read one by one on request, so the file stays
 * open until the model is disposed of (`using model = loadGguf(path)`).
 * @throws ShadowError `not_found`, or `invalid_file` naming the file and the field that is wrong
 */
export function loadGguf(path: string): GgufModel {
  const file = new FileWindow(path)
  try {
    const header = readGgufHeader(file)
    const fields = new Fields(file, header.metadata)
    const config = readConfig(file, header, fields)
    // Counted before the layers are made: a header may claim any number of them.
    if (config.num_hidden_layers > header.tensors.size)
      throw file.invalid(
        'llama.block_count',
        `${config.num_hidden_layers} layers cannot come from ${header.tensors.size} tensors`,
      )
    const architecture = builtFrom(path, 'settings', () => architectureOf(config))
    return {
      path,
      config,
      architecture,
      tensors: readTensors(file, header, architecture),
      tokenizer: readTokenizer(file, fields, architecture),
      chatTemplate: fields.optional('tokenizer.chat_template', 'string'),
      [Symbol.dispose]: () => file[Symbol.dispose](),
    }
  } catch (thrown) {
    file[Symbol.dispose]()
    throw thrown
  }
}

function readConfig(
  file: FileWindow,
  header: GgufHeader,
  fields: Fields,
): ModelConfig & { readonly num_hidden_layers: number } {
  const architecture = fields.required('general.architecture', 'string')
  if (architecture !== 'llama')
    throw file.invalid('general.architecture', `the model family ${architecture} is not supported (llama is)`)
  const scaling = fields.optional('llama.rope.scaling.type', 'string') ?? 'none'
  if (scaling !== 'none' || header.tensors.has('rope_freqs.weight'))
    throw file.invalid('llama.rope.scaling.type', `rope scaling (${scaling}) is not supported`)

  const hiddenSize = fields.size('llama.embedding_length')
  const heads = fields.size('llama.attention.head_count')
  const keyValueHeads = fields.sizeOr('llama.attention.head_count_kv', heads)
  const headDim = fields.sizeOr('llama.attention.key_length', hiddenSize / heads)
  const rotated = fields.sizeOr('llama.rope.dimension_count', headDim)
  if (!Number.isInteger(headDim) || headDim % 2 !== 0 || heads % keyValueHeads !== 0 || rotated !== headDim)
    throw file.invalid(
      'llama.attention.head_count',
      `${heads} heads (${keyValueHeads} for keys) do not divide a width of ${hiddenSize} into even parts, or rope turns only ${rotated} of ${headDim}`,
    )
  const embedding = header.tensors.get('token_embd.weight')
  if (embedding === undefined) throw file.invalid('tensor token_embd.weight', 'is missing')
  return {
    model_type: 'llama',
    hidden_size: hiddenSize,
    intermediate_size: fields.size('llama.feed_forward_length'),
    num_hidden_layers: fields.size('llama.block_count'),
    num_attention_heads: heads,
    num_key_value_heads: keyValueHeads,
    head_dim: headDim,
    rms_norm_eps: fields.required('llama.attention.layer_norm_rms_epsilon', 'number'),
    rope_theta: fields.optional('llama.rope.freq_base', 'number') ?? 10_000,
    vocab_size: embedding.shape[0] ?? 0,
    tie_word_embeddings: !header.tensors.has('output.weight'),
    max_position_embeddings: fields.size('llama.context_length'),
    bos_token_id: fields.optional('tokenizer.ggml.bos_token_id', 'number'),
    eos_token_id: fields.optional('tokenizer.ggml.eos_token_id', 'number'),
  }
}

function readTensors(
  file: FileWindow,
  header: GgufHeader,
  architecture: Architecture,
): Map<string, StoredTensor> {
  const expected = llamaTensorNames(architecture)
  for (const name of expected.keys())
    if (!header.tensors.has(name)) throw file.invalid(`tensor ${name}`, 'is missing')
  const tensors = new Map<string, StoredTensor>()
  for (const tensor of header.tensors.values()) {
    const target = expected.get(tensor.name)
    if (target === undefined) throw file.invalid(`tensor ${tensor.name}`, 'is not part of a llama model')
    tensors.set(target.name, storedTensor(file, tensor, target))
  }
  return tensors
}

function storedTensor(file: FileWindow, tensor: GgufTensor, target: LlamaTensorName): StoredTensor {
  const field = `tensor ${tensor.name}`
  const { decode, name } = tensor.type
  if (decode === undefined)
    throw file.invalid(field, `is stored as ${name}, which is not read yet (${readableTypes} are)`)
  if (tensor.shape.join() !== target.shape.join())
    throw file.invalid(field, `has the shape ${tensor.shape.join('×')} instead of ${target.shape.join('×')}`)
  const bytes = (): Uint8Array<ArrayBuffer> => file.bytes(tensor.start, tensor.bytes, field)
  const [rows = 1, columns = 1] = target.shape
  const heads = target.permutedHeads
  return {
    shape: target.shape,
    storedAs: name,
    read() {
      const data = decode(bytes())
      return heads === undefined ? data : unpermuteRows(data, rows, heads)
    },
    ...(isPackable(name) && {
      readPacked() {
        const packed = packBlocks(name, bytes(), rows, columns)
        if (packed === undefined || heads === undefined) return packed
        return { ...packed, words: unpermuteRows(packed.words, rows, heads) }
      },
    }),
  }
}

function readTokenizer(file: FileWindow, fields: Fields, { vocabularySize }: Architecture): GgufTokenizer {
  const tokens = fields.strings('tokenizer.ggml.tokens')
  if (tokens.length !== vocabularySize)
    throw file.invalid(
      'tokenizer.ggml.tokens',
      `has ${tokens.length} tokens for ${vocabularySize} rows of embeddings`,
    )
  const types = fields.metadata.get('tokenizer.ggml.token_type')
  if (!(types instanceof Int32Array) || types.length !== tokens.length)
    throw file.invalid('tokenizer.ggml.token_type', 'is not one int32 a token')
  return {
    model: fields.required('tokenizer.ggml.model', 'string'),
    pre: fields.optional('tokenizer.ggml.pre', 'string') ?? 'default',
    tokens,
    tokenTypes: types,
    merges: fields.metadata.has('tokenizer.ggml.merges') ? fields.strings('tokenizer.ggml.merges') : [],
    bosTokenId: fields.tokenId('tokenizer.ggml.bos_token_id', tokens.length),
    eosTokenId: fields.tokenId('tokenizer.ggml.eos_token_id', tokens.length),
    paddingTokenId: fields.tokenId('tokenizer.ggml.padding_token_id', tokens.length),
    addBosToken: fields.optional('tokenizer.ggml.add_bos_token', 'boolean') ?? false,
  }
}

interface FieldTypes {
  string: string
  number: number
  boolean: boolean
}

/** Typed access to the metadata, with errors that name the key. */
class Fields {
  readonly metadata: ReadonlyMap<string, GgufValue>
  readonly #file: FileWindow

  constructor(file: FileWindow, metadata: ReadonlyMap<string, GgufValue>) {
    this.#file = file
    this.metadata = metadata
  }

  optional<T extends keyof FieldTypes>(key: string, type: T): FieldTypes[T] | undefined {
    const value = this.metadata.get(key)
    if (value === undefined) return undefined
    if (isOfType(value, type)) return value
    throw this.#file.invalid(`metadata ${key}`, `is not a ${type}`)
  }

  required<T extends keyof FieldTypes>(key: string, type: T): FieldTypes[T] {
    const value = this.optional(key, type)
    if (value === undefined) throw this.#file.invalid(`metadata ${key}`, 'is missing')
    return value
  }

  /** A whole number above 0. */
  size(key: string): number {
    return this.#positive(key, this.required(key, 'number'))
  }

  sizeOr(key: string, fallback: number): number {
    const value = this.optional(key, 'number')
    return value === undefined ? fallback : this.#positive(key, value)
  }

  tokenId(key: string, vocabulary: number): number | undefined {
    const id = this.optional(key, 'number')
    if (id !== undefined && id >= vocabulary)
      throw this.#file.invalid(`metadata ${key}`, `token ${id} is not one of ${vocabulary}`)
    return id
  }

  strings(key: string): string[] {
    const value = this.metadata.get(key)
    if (!Array.isArray(value)) throw this.#file.invalid(`metadata ${key}`, 'is not an array of strings')
    return value
  }

  #positive(key: string, value: number): number {
    if (!Number.isInteger(value) || value < 1)
      throw this.#file.invalid(`metadata ${key}`, `${value} is not a positive whole number`)
    return value
  }
}

function isOfType<T extends keyof FieldTypes>(value: GgufValue, type: T): value is FieldTypes[T] & GgufValue {
  return typeof value === type
}
