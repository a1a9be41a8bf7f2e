/** From files to a model that runs, and adapters between memory and PEFT's format. */
import { ShadowError } from '../lib/error.ts'
import { LoraAdapter } from './adapters/lora.ts'
import { readAdapterFolder } from './io/adapter-folder.ts'
import { builtFrom } from './io/file-problem.ts'
import { loadGguf } from './io/gguf.ts'
import { saveAdapter } from './io/peft.ts'
import { type Quantization, weightSource } from './io/weight-source.ts'
import type { CausalLM } from './models/causal-lm.ts'
import { createModel } from './models/registry.ts'
import type { Runtime } from './tensor/runtime.ts'
import { ChatTemplate } from './tokenizer/chat-template.ts'
import { ggufTokenizer } from './tokenizer/gguf-tokenizer.ts'
import type { Tokenizer } from './tokenizer/tokenizer.ts'

const prefix = 'base_model.model.'

export interface ModelText {
  readonly tokenizer: Tokenizer
  readonly chatTemplate: ChatTemplate
}

/**
 * Tokenizer and chat template of a GGUF file; loads no native code.
 * @throws ShadowError invalid_file naming what is wrong with the file
 */
export function loadText(path: string): ModelText {
  using file = loadGguf(path)
  const tokenizer = builtFrom(path, 'tokenizer', () => ggufTokenizer(file.tokenizer))
  const { chatTemplate } = file
  if (chatTemplate === undefined) {
    throw new ShadowError('invalid_file', `${path}: tokenizer.chat_template: is missing.`, {
      hint: 'Choose a model that was made for chat (an "instruct" one).',
    })
  }
  return {
    tokenizer,
    chatTemplate: builtFrom(path, 'tokenizer.chat_template', () => new ChatTemplate(chatTemplate, tokenizer)),
  }
}

export interface LoadOptions {
  /** How the matrices lie in memory. Default `none`: float32. */
  quantization?: Quantization
}

/**
 * The whole of a GGUF file: weights, tokenizer, chat template.
 * @throws ShadowError invalid_file | invalid_config | engine_failed
 */
export function loadModel(
  runtime: Runtime,
  path: string,
  { quantization = 'none' }: LoadOptions = {},
): ModelText & { readonly model: CausalLM } {
  const text = loadText(path)
  using file = loadGguf(path)
  const model = createModel(runtime, file.config, weightSource(file.tensors, quantization))
  // What loading freed would be kept for reuse, and training wants other sizes.
  runtime.native.clearCache()
  return { ...text, model }
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
 * Loads an adapter that PEFT, mlx-lm or Shadow wrote, for a base model that it fits.
 * @throws ShadowError not_found | invalid_file naming file and field
 */
export function loadLora(model: CausalLM, folder: string): LoraAdapter {
  const { config, tensors } = readAdapterFolder(folder)
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
