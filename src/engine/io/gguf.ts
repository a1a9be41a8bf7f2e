/**
 * Models in GGUF files: settings, tensors and tokenizer in Hugging Face's names and layout. How to add a family:
 * gguf-config.ts.
 */
import { builtFrom } from './file-problem.ts'
import { FileWindow } from './file-window.ts'
import { isPackable, packBlocks } from './ggml-pack.ts'
import { readGgufConfig } from './gguf-config.ts'
import { GgufFields } from './gguf-fields.ts'
import { type GgufHeader, type GgufTensor, readGgufHeader } from './gguf-file.ts'
import { type GgufTensorName, ggufTensorNames, ropeTensors } from './gguf-names.ts'
import { readableTypes } from './ggml-types.ts'
import { unpermuteRows } from './head-rows.ts'
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
    const fields = new GgufFields(file, header.metadata)
    const config = readGgufConfig(file, header, fields)
    // Counted before the layers are made: a header may claim any number of them.
    if (config.num_hidden_layers > header.tensors.size)
      throw file.invalid(
        'block_count',
        `${config.num_hidden_layers} layers cannot come from ${header.tensors.size} tensors`,
      )
    const architecture = builtFrom(path, 'settings', () => architectureOf(config))
    return {
      path,
      config,
      architecture,
      tensors: readTensors(file, header, config.model_type, architecture),
      tokenizer: readTokenizer(file, fields, architecture),
      chatTemplate: fields.optional('tokenizer.chat_template', 'string'),
      [Symbol.dispose]: () => file[Symbol.dispose](),
    }
  } catch (thrown) {
    file[Symbol.dispose]()
    throw thrown
  }
}

function readTensors(
  file: FileWindow,
  header: GgufHeader,
  modelType: string,
  architecture: Architecture,
): Map<string, StoredTensor> {
  const expected = ggufTensorNames(modelType, architecture)
  for (const name of expected.keys())
    if (!header.tensors.has(name)) throw file.invalid(`tensor ${name}`, 'is missing')
  const tensors = new Map<string, StoredTensor>()
  for (const tensor of header.tensors.values()) {
    if (ropeTensors.includes(tensor.name)) continue
    const target = expected.get(tensor.name)
    if (target === undefined)
      throw file.invalid(`tensor ${tensor.name}`, `is not part of a ${modelType} model`)
    tensors.set(target.name, storedTensor(file, tensor, target))
  }
  return tensors
}

function storedTensor(file: FileWindow, tensor: GgufTensor, target: GgufTensorName): StoredTensor {
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
      if (target.offset !== undefined) for (let i = 0; i < data.length; i++) data[i]! -= target.offset
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

function readTokenizer(
  file: FileWindow,
  fields: GgufFields,
  { vocabularySize }: Architecture,
): GgufTokenizer {
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
