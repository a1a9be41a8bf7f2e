/**
 * What is fuzzed: a right file, ways to spoil it, and the loader that reads it to the end. How to add one: an
 * entry here.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadGguf } from '../../src/engine/io/gguf.ts'
import { ggufAdapterAt, readGgufLora } from '../../src/engine/io/gguf-lora.ts'
import { loadMlxAdapter } from '../../src/engine/io/mlx-lm.ts'
import { openModelFolder } from '../../src/engine/io/model-folder.ts'
import { loadAdapter } from '../../src/engine/io/peft.ts'
import { openSafetensors } from '../../src/engine/io/safetensors.ts'
import { loadText } from '../../src/engine/model-files.ts'
import { architectureOf } from '../../src/engine/models/registry.ts'
import { parseTokenizer } from '../../src/engine/tokenizer/tokenizer-file.ts'
import type { Chance } from './chance.ts'
import { spoiledGguf, spoiledGgufLora } from './gguf.ts'
import { type Json, mutateJson, spoiledText } from './mutate.ts'
import { spoiledTokenizer } from './tokenizers.ts'
import { safetensorsFile, spoiledSafetensors } from './safetensors.ts'

export interface FuzzTarget {
  readonly name: string
  /** Writes an input into the folder and returns its bytes. */
  write(folder: string, chance: Chance): number
  /** Reads all of it. */
  load(folder: string): void
}

export const fuzzTargets: readonly FuzzTarget[] = [
  {
    name: 'safetensors',
    write: (folder, chance) => put(folder, 'x.safetensors', spoiledSafetensors(plainTensors, chance)),
    load(folder) {
      using file = openSafetensors(join(folder, 'x.safetensors'))
      for (const tensor of file.tensors.values()) tensor.read()
    },
  },
  {
    name: 'gguf',
    write: (folder, chance) => put(folder, 'x.gguf', spoiledGguf(chance)),
    load(folder) {
      const path = join(folder, 'x.gguf')
      using model = loadGguf(path)
      for (const tensor of model.tensors.values()) tensor.read()
    },
  },
  {
    name: 'gguf text',
    write: (folder, chance) => put(folder, 'x.gguf', spoiledGguf(chance)),
    load(folder) {
      const { tokenizer } = loadText(join(folder, 'x.gguf'))
      tokenizer.decode(tokenizer.encode('ab a1'))
    },
  },
  {
    name: 'GGUF adapter',
    write: (folder, chance) => put(folder, 'x.gguf', spoiledGgufLora(chance)),
    load(folder) {
      const path = join(folder, 'x.gguf')
      ggufAdapterAt(path)
      readGgufLora(path, tinyArchitecture)
    },
  },
  {
    name: 'PEFT adapter',
    write: (folder, chance) =>
      writeAdapter(folder, chance, 'adapter_model.safetensors', peftConfig, peftTensors),
    load: (folder) => void loadAdapter(folder),
  },
  {
    name: 'mlx-lm adapter',
    write: (folder, chance) => writeAdapter(folder, chance, 'adapters.safetensors', mlxConfig, mlxTensors),
    load: (folder) => void loadMlxAdapter(folder),
  },
  {
    name: 'tokenizer',
    write: (folder, chance) =>
      spoiledTokenizer(chance).reduce((sum, [name, bytes]) => sum + put(folder, name, bytes), 0),
    load(folder) {
      const read = (name: string): Uint8Array => readFileSync(join(folder, name))
      const { tokenizer } = parseTokenizer(
        {
          tokenizer: read('tokenizer.json'),
          tokenizerConfig: read('tokenizer_config.json'),
          generationConfig: read('generation_config.json'),
        },
        folder,
      )
      tokenizer.decode(tokenizer.encode("ab A1 b's  <|im_end|>"))
    },
  },
  {
    name: 'Hugging Face folder',
    write: writeModelFolder,
    load(folder) {
      using model = openModelFolder(folder)
      for (const tensor of model.tensors.values()) tensor.read()
    },
  },
]

/** Of the model that gguf-writer.ts's `tinyLlama` writes. */
const tinyArchitecture = architectureOf({
  model_type: 'llama',
  vocab_size: 5,
  hidden_size: 8,
  intermediate_size: 6,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  max_position_embeddings: 64,
  tie_word_embeddings: true,
})

const modelConfig = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: 4,
  hidden_size: 2,
  intermediate_size: 2,
  num_hidden_layers: 1,
  num_attention_heads: 1,
  num_key_value_heads: 1,
  head_dim: 2,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  rope_scaling: { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4 },
  max_position_embeddings: 64,
  tie_word_embeddings: true,
  attention_bias: false,
}

const layer = 'model.layers.0'
const matrix = (start: number): Json => ({ dtype: 'F32', shape: [2, 2], data_offsets: [start, start + 16] })
const vector = (start: number): Json => ({ dtype: 'F32', shape: [2], data_offsets: [start, start + 8] })
const shards: Readonly<Record<string, Record<string, Json>>> = {
  'model-00001-of-00002.safetensors': {
    'model.embed_tokens.weight': { dtype: 'BF16', shape: [4, 2], data_offsets: [0, 16] },
    'model.norm.weight': vector(16),
    [`${layer}.input_layernorm.weight`]: vector(24),
    [`${layer}.post_attention_layernorm.weight`]: vector(32),
  },
  'model-00002-of-00002.safetensors': Object.fromEntries(
    ['self_attn.q', 'self_attn.k', 'self_attn.v', 'self_attn.o', 'mlp.gate', 'mlp.up', 'mlp.down'].map(
      (name, index) => [`${layer}.${name}_proj.weight`, matrix(16 * index)],
    ),
  ),
}
const index = {
  metadata: { total_size: 152 },
  weight_map: Object.fromEntries(
    Object.entries(shards).flatMap(([file, tensors]) => Object.keys(tensors).map((name) => [name, file])),
  ),
}

const plainTensors = {
  __metadata__: { format: 'pt' },
  a: { dtype: 'F32', shape: [2, 3], data_offsets: [0, 24] },
  b: { dtype: 'BF16', shape: [4], data_offsets: [24, 32] },
  c: { dtype: 'F16', shape: [1, 2, 2], data_offsets: [32, 40] },
  d: { dtype: 'F32', shape: [], data_offsets: [40, 44] },
}

const peftConfig = {
  peft_type: 'LORA',
  r: 2,
  lora_alpha: 4,
  lora_dropout: 0,
  use_rslora: false,
  use_dora: true,
  target_modules: ['q_proj'],
  rank_pattern: { v_proj: 1 },
  alpha_pattern: { v_proj: 3 },
  modules_to_save: null,
  bias: 'none',
  base_model_name_or_path: 'tiny',
}

const peftTensors = {
  __metadata__: { format: 'pt' },
  'base_model.model.m.q_proj.lora_A.weight': { dtype: 'F32', shape: [2, 3], data_offsets: [0, 24] },
  'base_model.model.m.q_proj.lora_B.weight': { dtype: 'F32', shape: [4, 2], data_offsets: [24, 56] },
  'base_model.model.m.q_proj.lora_magnitude_vector': { dtype: 'F32', shape: [4], data_offsets: [56, 72] },
  'base_model.model.m.v_proj.lora_A.weight': { dtype: 'F16', shape: [1, 2], data_offsets: [72, 76] },
  'base_model.model.m.v_proj.lora_B.weight': { dtype: 'BF16', shape: [2, 1], data_offsets: [76, 80] },
  'base_model.model.m.v_proj.lora_magnitude_vector': { dtype: 'F32', shape: [2], data_offsets: [80, 88] },
}

const mlxConfig = {
  fine_tune_type: 'dora',
  model: 'tiny',
  num_layers: 1,
  lora_parameters: { rank: 2, scale: 10, dropout: 0, keys: ['self_attn.q_proj'] },
}

const mlxTensors = {
  'm.q_proj.lora_a': { dtype: 'F32', shape: [3, 2], data_offsets: [0, 24] },
  'm.q_proj.lora_b': { dtype: 'F32', shape: [2, 4], data_offsets: [24, 56] },
  'm.q_proj.m': { dtype: 'F32', shape: [4], data_offsets: [56, 72] },
}

/** One of the folder's files is spoiled, or two. */
function writeModelFolder(folder: string, chance: Chance): number {
  const spoiled = [chance.below(4), chance.is(0.2) ? chance.below(4) : -1]
  const json = (value: Json, turn: number): Buffer =>
    Buffer.from(
      spoiled.includes(turn) ? spoiledText(mutateJson(value, chance), chance) : JSON.stringify(value),
    )
  let bytes = put(folder, 'config.json', json(modelConfig, 0))
  bytes += put(folder, 'model.safetensors.index.json', json(index, 1))
  Object.entries(shards).forEach(([name, tensors], turn) => {
    const content = spoiled.includes(turn + 2)
      ? spoiledSafetensors(tensors, chance)
      : safetensorsFile(tensors)
    bytes += put(folder, name, content)
  })
  return bytes
}

function writeAdapter(
  folder: string,
  chance: Chance,
  tensorFile: string,
  config: Json,
  tensors: Record<string, Json>,
): number {
  const spoilConfig = chance.is(0.5)
  const text = spoilConfig ? spoiledText(mutateJson(config, chance), chance) : JSON.stringify(config)
  const bytes = spoilConfig && chance.is(0.8) ? safetensorsFile(tensors) : spoiledSafetensors(tensors, chance)
  return put(folder, 'adapter_config.json', Buffer.from(text)) + put(folder, tensorFile, bytes)
}

function put(folder: string, name: string, bytes: Uint8Array): number {
  writeFileSync(join(folder, name), bytes)
  return bytes.length
}
