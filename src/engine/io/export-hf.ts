/** A merged model as a Hugging Face folder: what `AutoModelForCausalLM.from_pretrained` needs, and its tokenizer. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomically } from '../../lib/files.ts'
import { modelClassName } from '../models/registry.ts'
import { ggufPreTokenizers } from '../tokenizer/pre-tokenizers.ts'
import type { ExportBase, GgufBase } from './export-base.ts'
import { mergedTensors } from './export-merge.ts'
import type { GgufTokenizer } from './gguf.ts'
import type { LoraModule } from './adapter.ts'
import { type SafetensorsType, writtenAs } from './safetensors-layout.ts'
import { writeSafetensors } from './safetensors-write.ts'

const torchNames = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' } as const
const controlType = 3
const userDefinedType = 4

/** A folder's files about text, copied as they are. */
const textFiles = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  'tokenizer.model',
  'chat_template.jinja',
  'generation_config.json',
]

/**
 * Writes base and adapter as one model; the config goes last, so that a folder with one is complete.
 * @param type of the weights; undefined: a folder's as they are stored, a GGUF file's as float32
 */
export async function exportHuggingFace(
  folder: string,
  base: ExportBase,
  modules: readonly LoraModule[],
  type: SafetensorsType | undefined,
): Promise<void> {
  const tensors = mergedTensors(base.tensors, modules)
  await writeSafetensors(
    join(folder, 'model.safetensors'),
    tensors,
    type ?? (base.gguf === null ? 'stored' : 'F32'),
  )
  const stored = base.gguf === null ? tensors.get('model.embed_tokens.weight')?.storedAs : undefined
  const ids = base.gguf === null ? await copyText(folder, base) : await writeText(folder, base, base.gguf)
  await writeJson(join(folder, 'config.json'), {
    architectures: [modelClassName(base.config)],
    ...base.config,
    ...ids,
    torch_dtype: torchNames[type ?? writtenAs(stored)],
  })
}

async function copyText(folder: string, base: ExportBase): Promise<object> {
  for (const name of textFiles) {
    const bytes = await readFile(join(base.path, name)).catch(() => null)
    if (bytes !== null) await writeFileAtomically(join(folder, name), bytes)
  }
  // The first is read before `torch_dtype`; the others speak of matrices that are dense now.
  return { dtype: undefined, quantization: undefined, quantization_config: undefined }
}

/** @returns the ids that config.json repeats */
async function writeText(
  folder: string,
  { architecture }: ExportBase,
  { tokenizer, chatTemplate }: GgufBase,
): Promise<object> {
  await writeJson(join(folder, 'tokenizer.json'), tokenizerFile(tokenizer))
  const spelled = (id: number | undefined): string | undefined =>
    id === undefined ? undefined : tokenizer.tokens[id]
  await writeJson(join(folder, 'tokenizer_config.json'), {
    tokenizer_class: 'PreTrainedTokenizerFast',
    model_max_length: architecture.maxPositions,
    clean_up_tokenization_spaces: false,
    bos_token: spelled(tokenizer.bosTokenId),
    eos_token: spelled(tokenizer.eosTokenId),
    pad_token: spelled(tokenizer.paddingTokenId),
    chat_template: chatTemplate,
  })
  const ids = {
    bos_token_id: tokenizer.bosTokenId ?? null,
    eos_token_id: tokenizer.eosTokenId ?? null,
    pad_token_id: tokenizer.paddingTokenId ?? null,
  }
  await writeJson(join(folder, 'generation_config.json'), ids)
  return ids
}

async function writeJson(path: string, content: unknown): Promise<void> {
  await writeFileAtomically(path, `${JSON.stringify(content, null, 2)}\n`)
}

/** `tokenizer.json` of the tokenizers library. */
function tokenizerFile(source: GgufTokenizer): unknown {
  const added = source.tokens.flatMap((content, id) => {
    const type = source.tokenTypes[id]
    if (type !== controlType && type !== userDefinedType) return []
    const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false }
    return [{ id, content, ...flags, special: type === controlType }]
  })
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: ggufPreTokenizers.get(source.pre) ?? [] },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(source.tokens.map((token, id) => [token, id])),
      merges: source.merges.map((merge) => merge.split(' ')),
    },
  }
}
