/** From files to a model that runs, and adapters between memory and PEFT's format. */
import { ShadowError } from '../lib/error.ts'
import type { FullFineTuning } from './adapters/full.ts'
import { LoraAdapter } from './adapters/lora.ts'
import type { LoraAdapter as AdapterFiles } from './io/adapter.ts'
import { readAdapterFolder } from './io/adapter-folder.ts'
import { openExportBase } from './io/export-base.ts'
import { exportHuggingFace } from './io/export-hf.ts'
import { builtFrom } from './io/file-problem.ts'
import { loadGguf } from './io/gguf.ts'
import { isModelFolder, type ModelFolder, openModelFolder } from './io/model-folder.ts'
import { saveAdapter } from './io/peft.ts'
import type { StoredTensor } from './io/stored-tensor.ts'
import { type Quantization, weightSource } from './io/weight-source.ts'
import type { CausalLM } from './models/causal-lm.ts'
import { createModel } from './models/registry.ts'
import { inBfloat16 } from './nn/quantize.ts'
import type { Runtime } from './tensor/runtime.ts'
import { ChatTemplate } from './tokenizer/chat-template.ts'
import { ggufTokenizer } from './tokenizer/gguf-tokenizer.ts'
import type { ParsedTokenizer } from './tokenizer/tokenizer-file.ts'
import { readTokenizerFolder } from './tokenizer/tokenizer-folder.ts'
import type { Tokenizer } from './tokenizer/tokenizer.ts'

const prefix = 'base_model.model.'

/** What turns text into a model's tokens and back. */
export interface ModelText {
  /** Of the model's own files. */
  readonly tokenizer: Tokenizer
  /** Undefined for a base model, which goes on from texts and learns from them, and has no conversations. */
  readonly chatTemplate: ChatTemplate | undefined
}

/**
 * Tokenizer and chat template of a GGUF file or a Hugging Face folder; loads no native code.
 * @throws ShadowError not_found | invalid_file naming what is wrong with the file
 */
export function loadText(path: string): ModelText {
  return isModelFolder(path) ? readTokenizerFolder(path) : ggufText(path)
}

/** @throws ShadowError `invalid_request` for a model without one */
export function chatTemplateOf({ chatTemplate }: ModelText): ChatTemplate {
  if (chatTemplate !== undefined) return chatTemplate
  throw new ShadowError('invalid_request', 'The model has no chat template, so it has no conversations.', {
    hint: 'Choose a model that was made for chat (an "instruct" one), or give it plain text.',
  })
}

function ggufText(path: string): ParsedTokenizer {
  using file = loadGguf(path)
  const tokenizer = builtFrom(path, 'tokenizer', () => ggufTokenizer(file.tokenizer))
  const { chatTemplate: source } = file
  if (source === undefined) return { tokenizer, chatTemplate: undefined }
  const build = (): ChatTemplate => new ChatTemplate(source, tokenizer)
  return { tokenizer, chatTemplate: builtFrom(path, 'tokenizer.chat_template', build) }
}

export interface LoadOptions {
  /** How the matrices lie in memory. Default `none`: float32. */
  quantization?: Quantization
  /**
   * What training multiplies in. `bfloat16` also rounds matrices that are not quantised, which takes half of float32's
   * memory; losses move by about 1e-4. Without AVX512-BF16 products are float32 all the same. Default float32.
   */
  dtype?: 'float32' | 'bfloat16'
}

/**
 * The whole of a GGUF file or a Hugging Face folder: weights, tokenizer, chat template.
 * @throws ShadowError not_found | invalid_file | invalid_config | engine_failed
 */
export function loadModel(
  runtime: Runtime,
  path: string,
  { quantization = 'none', dtype = 'float32' }: LoadOptions = {},
): ModelText & { readonly model: CausalLM } {
  const text = loadText(path)
  using file = openModel(path)
  if (typeof quantization === 'object') checkGroups(path, file.tensors.values(), quantization)
  const weights = weightSource(file.tensors, quantization)
  const model = createModel(runtime, file.config, dtype === 'bfloat16' ? inBfloat16(weights) : weights)
  // What loading freed would be kept for reuse, and training wants other sizes.
  runtime.native.clearCache()
  return { ...text, model }
}

/** @throws ShadowError invalid_config where quantising on load would leave every matrix as it is */
function checkGroups(
  path: string,
  tensors: Iterable<StoredTensor>,
  { groupSize = 64 }: Exclude<Quantization, string>,
): void {
  for (const { shape, readPacked } of tensors)
    if (shape.length === 2 && (readPacked !== undefined || (shape[1] ?? 0) % groupSize === 0)) return
  throw new ShadowError(
    'invalid_config',
    `${path} cannot be quantised: no matrix has rows that divide into groups of ${groupSize}.`,
    { hint: 'Load it without quantisation.' },
  )
}

/** What a model's files hold, read one tensor at a time; loads no native code. @throws ShadowError as loadModel */
export function openModel(path: string): ModelFolder {
  return isModelFolder(path) ? openModelFolder(path) : loadGguf(path)
}

/** Writes an adapter in PEFT's format; the same adapter gives the same bytes. @throws ShadowError invalid_request */
export async function saveLora(folder: string, adapter: LoraAdapter, baseModel: string): Promise<void> {
  const tensors = new Map([...adapter.tensors()].map(([name, tensor]) => [name.slice(prefix.length), tensor]))
  const { target_modules: _preset, ...config } = adapter.config
  const modules = new Set(adapter.linears.map(({ path }) => path.split('.').at(-1) ?? path))
  await saveAdapter(folder, {
    config: {
      peft_type: 'LORA',
      use_rslora: false,
      use_dora: false,
      ...config,
      target_modules: [...modules].toSorted(),
      base_model_name_or_path: baseModel,
    },
    tensors,
  })
}

/**
 * Writes a fully fine-tuned model as a Hugging Face folder: its weights in float32, and the base's configuration,
 * tokenizer and chat template.
 * @param basePath the GGUF file that was trained
 * @throws ShadowError not_found | invalid_file | store_failed
 */
export async function saveFullModel(
  folder: string,
  trained: FullFineTuning,
  basePath: string,
): Promise<void> {
  using base = openExportBase(basePath)
  const tensors = new Map(base.tensors)
  for (const [name, { shape, data }] of trained.tensors())
    tensors.set(name, { shape, storedAs: 'F32', read: () => Float32Array.from(data) })
  await exportHuggingFace(folder, { ...base, tensors }, [], 'F32')
}

/**
 * Loads an adapter that PEFT, mlx-lm or Shadow wrote, for a base model that it fits.
 * @throws ShadowError not_found | invalid_file naming file and field
 */
export function loadLora(model: CausalLM, folder: string): LoraAdapter {
  return loraOf(model, readAdapterFolder(folder))
}

/** An adapter's files as one for this model. @throws ShadowError `invalid_file` naming what does not fit it */
export function loraOf(model: CausalLM, { config, tensors }: AdapterFiles): LoraAdapter {
  const { r, lora_alpha, lora_dropout, use_rslora, use_dora, rank_pattern, alpha_pattern } = config
  const factor = '.lora_A.weight'
  const paths = [...tensors.keys()].flatMap((name) =>
    name.endsWith(factor) ? [name.slice(0, -factor.length)] : [],
  )
  const modules = new Set(paths.map((path) => path.split('.').at(-1) ?? path))
  return LoraAdapter.fromTensors(
    model,
    {
      r,
      lora_alpha,
      lora_dropout,
      target_modules: [...modules],
      use_rslora,
      use_dora,
      rank_pattern: rank_pattern ?? {},
      alpha_pattern: alpha_pattern ?? {},
    },
    {
      has: (name) => tensors.has(name.slice(prefix.length)),
      get: (name) => tensors.get(name.slice(prefix.length)),
    },
    paths,
  )
}
