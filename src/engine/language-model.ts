/** A model with its text, an adapter and a generator: the engine in a few lines. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { ShadowError } from '../lib/error.ts'
import { trainDefaults } from '../lib/train-defaults.ts'
import { defaultModelName } from '../setup/model.mjs'
import { LoraAdapter } from './adapters/lora.ts'
import type { LoraConfig } from './adapters/lora-config.ts'
import { fit, type TrainExample, type TrainOptions, type TrainStep } from './fit.ts'
import { readAdapterFolder } from './io/adapter-folder.ts'
import { type ExportFormat, exportModel } from './io/export.ts'
import { findModel } from './local-models.ts'
import {
  chatTemplateOf,
  type LoadOptions as WeightOptions,
  loadModel,
  loraOf,
  openModel,
  type ModelText,
  saveLora,
} from './model-files.ts'
import type { CausalLM } from './models/causal-lm.ts'
import { conversation, generateOptions, loadOptions, parseOptions, toolList } from './options.ts'
import { Reply } from './reply.ts'
import type { GenerateResult } from './sample/request.ts'
import { GenerationScheduler } from './sample/scheduler.ts'
import { Runtime } from './tensor/runtime.ts'
import type { TemplateMessage, TemplateTool } from './tokenizer/chat-message.ts'

/** How `load` loads a model. */
export interface LoadOptions extends WeightOptions {
  /** A folder with an adapter in PEFT's or mlx-lm's format, or a GGUF LoRA; generation and further training use it. */
  adapter?: string
  /** Tokens of a prompt and its reply together. Default 2048, or what the model has. */
  maxContext?: number
  /** Threads of the kernels. Default: the cores this process may use. */
  threads?: number
  /** Says on stderr what is loaded and when it is ready. Default true. */
  verbose?: boolean
}

/** How `generate` and `chat` draw. */
export interface GenerateOptions {
  /** Default 256. */
  maxNewTokens?: number
  /** 0 is greedy. Default 0.7. */
  temperature?: number
  /** Default 0.95; 1 keeps every token. */
  topP?: number
  /** Decides all random choices. Default 0. */
  seed?: number
  /** Called with each piece of text as it is generated. */
  onText?: (text: string) => void
  /** Aborting rejects with the signal's reason. */
  signal?: AbortSignal
}

/** How `chat` answers. */
export interface ChatOptions extends GenerateOptions {
  /** What the reply may call. Default: nothing. */
  tools?: readonly TemplateTool[]
}

/** What a fresh adapter is made of; defaults are those of `shadow run`. */
export type AdapterOptions = Partial<LoraConfig>

const adapterName = 'own'
const mostContext = 2048
/** Requests that are answered together. */
const maxBatch = 4

/**
 * Loads a model.
 * @param name a pulled model's name, or the path of a GGUF file or of a Hugging Face folder; default: the small model
 *   that `shadow setup` fetches
 * @throws ShadowError `not_found`, `missing_prerequisite`, `invalid_file` naming file and field, `invalid_config` naming
 *   the option, `engine_failed`
 */
export async function load(
  name: string = defaultModelName,
  options: LoadOptions = {},
): Promise<LanguageModel> {
  parseOptions(loadOptions, options, 'load')
  const { adapter, maxContext, threads, verbose = true, ...weights } = options
  const say = (text: string): void => {
    if (verbose) process.stderr.write(`${text}\n`)
  }
  const started = performance.now()
  say(`preparing ${name} …`)
  const path = findModel(name)
  const runtime = new Runtime(threads === undefined ? {} : { threads })
  const { model, ...text } = loadModel(runtime, path, weights)
  try {
    const loaded = adapter === undefined ? null : loadAdapter(model, adapter, { name, path }, say)
    const seconds = ((performance.now() - started) / 1000).toFixed(1)
    say(`ready · backend=${backendOf(runtime)} · ${seconds} s`)
    return new LanguageModel({ name, path, model, text, adapter: loaded, maxContext, say })
  } catch (thrown) {
    model.dispose()
    throw thrown
  }
}

/** Shapes tell most wrong bases; of those that are alike an adapter only knows the name. */
function loadAdapter(
  model: CausalLM,
  folder: string,
  base: { name: string; path: string },
  say: (text: string) => void,
): LoraAdapter {
  const files = readAdapterFolder(folder, () => {
    using file = openModel(base.path)
    return file.architecture
  })
  const named = files.config.base_model_name_or_path
  if (typeof named === 'string' && named !== base.name && resolve(named) !== resolve(base.name))
    say(`${folder} was made for ${named} and is used on ${base.name}`)
  return loraOf(model, files)
}

function backendOf({ threads }: Runtime): string {
  return `mlx-cpu (${threads} ${threads === 1 ? 'thread' : 'threads'})`
}

interface Parts {
  readonly name: string
  readonly path: string
  readonly model: CausalLM
  readonly text: ModelText
  readonly adapter: LoraAdapter | null
  readonly maxContext: number | undefined
  readonly say: (text: string) => void
}

/**
 * A loaded model. `using` frees weights, adapter and cache at the end of the block; nothing that its methods make on
 * the way outlives them.
 */
export class LanguageModel implements Disposable {
  /** As it was given to `load`; adapters that are saved name it as their base. */
  readonly name: string
  /** The GGUF file or the folder that it was loaded from. */
  readonly path: string
  /** For tensors and gradients of one's own. */
  readonly model: CausalLM
  /** Tokenizer and chat template. */
  readonly text: ModelText
  readonly #maxContext: number
  readonly #say: (text: string) => void
  #adapter: LoraAdapter | null
  #generator: GenerationScheduler | null = null
  #state: 'free' | 'training' | 'disposed' = 'free'

  /** @internal Made by `load`. */
  constructor({ name, path, model, text, adapter, maxContext, say }: Parts) {
    this.name = name
    this.path = path
    this.model = model
    this.text = text
    this.#adapter = adapter
    this.#say = say
    this.#maxContext = Math.min(maxContext ?? mostContext, model.contextLength)
  }

  /** The adapter that generation uses; null before any training. */
  get adapter(): LoraAdapter | null {
    return this.#adapter
  }

  /**
   * Goes on from a text as it is, without a chat template.
   * @returns the new text alone
   * @throws ShadowError `invalid_request` for an empty prompt or one longer than the context, `busy` while it is trained
   */
  async generate(prompt: string, options: GenerateOptions = {}): Promise<string> {
    this.#mustBeFree()
    return (await this.#continue(this.text.tokenizer.encode(prompt), options)).text
  }

  /**
   * Answers a conversation. With `tools` the reply may hold calls of them.
   * @throws ShadowError `invalid_request` for a conversation that the chat template refuses, or that is too long, `busy`
   *   while the model is trained
   */
  async chat(
    messages: readonly TemplateMessage[],
    { tools = [], ...options }: ChatOptions = {},
  ): Promise<Reply> {
    this.#mustBeFree()
    parseOptions(toolList, tools, 'chat: tools')
    const { success, error } = conversation.safeParse(messages)
    if (!success)
      throw new ShadowError(
        'invalid_request',
        'A conversation is a list of messages with role and content.',
        {
          cause: error,
        },
      )
    const prompt = chatTemplateOf(this.text).encodePrompt(messages, tools)
    const { text, finishReason } = await this.#continue(prompt, options)
    return new Reply(text, finishReason)
  }

  /**
   * Trains the adapter, a fresh one where there is none. With 'all' layers, r 16, alpha 32 unless `adapter` says
   * otherwise; an adapter that is there keeps its shape. Replies under way are given up; until it ends the model answers
   * nothing.
   * @param examples conversations (assistant turns are learned) or texts
   * @returns one entry a step
   * @throws ShadowError `invalid_request`, `invalid_config`, `training_diverged`, `out_of_memory`, `busy` while it is
   *   trained already
   */
  async train(
    examples: readonly TrainExample[],
    { adapter, ...options }: TrainOptions & { adapter?: AdapterOptions } = {},
  ): Promise<TrainStep[]> {
    this.#mustBeFree()
    if (this.#adapter !== null && adapter !== undefined)
      throw new ShadowError(
        'invalid_request',
        'The model has an adapter already, whose shape cannot change.',
        {
          hint: 'Load the model again for an adapter of another shape.',
        },
      )
    const { lora_r: r, lora_alpha, lora_dropout, target_modules } = trainDefaults
    const config = { r, lora_alpha, lora_dropout, target_modules, ...adapter }
    const adapterToTrain = (): LoraAdapter =>
      (this.#adapter ??= LoraAdapter.create(this.model, config, options.seed ?? trainDefaults.seed))
    // What the cache holds was computed with the adapter as it was.
    this.#stopGenerator()
    this.#state = 'training'
    try {
      return await fit(this.model, this.text, adapterToTrain, examples, { onNote: this.#say, ...options })
    } catch (thrown) {
      this.#mustNotBeDisposed()
      throw thrown
    } finally {
      if (this.#state === 'training') this.#state = 'free'
    }
  }

  /**
   * Writes the adapter (`peft`, `mlx-lm`, `gguf-lora`), or base and adapter as one model (`hf`, `gguf`).
   * @param folder new or empty
   * @throws ShadowError `invalid_request` without an adapter, `conflict` for a folder that holds something
   */
  async save(folder: string, format: ExportFormat = 'peft'): Promise<void> {
    this.#mustNotBeDisposed()
    if (this.#adapter === null)
      throw new ShadowError('invalid_request', 'There is no adapter to save.', {
        hint: 'Train the model first.',
      })
    const own = mkdtempSync(join(tmpdir(), 'shadow-adapter-'))
    try {
      await saveLora(own, this.#adapter, this.name)
      await exportModel({ basePath: this.path, adapterFolder: own, format, outFolder: folder })
    } finally {
      rmSync(own, { recursive: true, force: true })
    }
  }

  /** Frees everything; using the model afterwards is an error, and a training under way ends with one. */
  dispose(): void {
    if (this.#state === 'disposed') return
    this.#state = 'disposed'
    this.#stopGenerator()
    this.#adapter?.dispose()
    this.#adapter = null
    this.model.dispose()
  }

  /** `dispose`, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose()
  }

  #mustNotBeDisposed(): void {
    if (this.#state === 'disposed')
      throw new ShadowError('invalid_request', 'The model was disposed of.', { hint: 'Load it again.' })
  }

  #mustBeFree(): void {
    this.#mustNotBeDisposed()
    if (this.#state === 'training')
      throw new ShadowError('busy', 'The model is being trained.', {
        hint: 'Wait until the training has ended.',
      })
  }

  async #continue(
    promptIds: Int32Array,
    options: GenerateOptions,
  ): Promise<{ text: string; finishReason: GenerateResult['finishReason'] }> {
    parseOptions(generateOptions, options, 'generate')
    const { maxNewTokens = 256, temperature = 0.7, topP = 0.95, seed, onText, signal } = options
    const decoder = this.text.tokenizer.decodeStream({ skipSpecialTokens: true })
    let text = ''
    const give = (piece: string): void => {
      text += piece
      if (piece !== '') onText?.(piece)
    }
    const { finishReason } = await this.#scheduler().submit({
      promptIds,
      maxTokens: maxNewTokens,
      temperature,
      topP,
      stopIds: this.text.tokenizer.endTokenIds,
      adapter: this.#adapter === null ? null : adapterName,
      onToken: (id) => give(decoder.push(id)),
      ...(seed !== undefined && { seed }),
      ...(signal !== undefined && { signal }),
    })
    give(decoder.flush())
    return { text, finishReason }
  }

  #scheduler(): GenerationScheduler {
    if (this.#generator !== null) return this.#generator
    const generator = new GenerationScheduler(this.model, { maxBatch, maxContext: this.#maxContext })
    if (this.#adapter !== null) generator.addAdapter(adapterName, this.#adapter)
    this.#generator = generator
    return generator
  }

  #stopGenerator(): void {
    this.#generator?.dispose()
    this.#generator = null
  }
}
