/** The one base model of a serving child and the adapters it answers with, by name. */
import type { Usage } from '../contract/call.ts'
import type { ChatMessage, ToolDefinition } from '../contract/message.ts'
import type { ServePolicy } from '../contract/task.ts'
import {
  type CausalLM,
  type ChatTemplate,
  chatTemplateOf,
  GenerationScheduler,
  loadLora,
  loadModel,
  type ModelText,
  Runtime,
  type Tokenizer,
} from '../engine/index.ts'
import { ShadowError } from '../lib/error.ts'
import type { ServedModel } from './protocol.ts'
import { StopText } from './stop-text.ts'

export interface Generation {
  text: string
  finishReason: 'stop' | 'length'
  usage: Usage
}

export interface GenerationRequest {
  model: string
  messages: readonly ChatMessage[]
  tools: readonly ToolDefinition[]
  maxTokens: number
  stop: readonly string[]
  signal: AbortSignal
  onText: (text: string) => void
}

/** Sequences decoded together. */
const maxBatch = 16

export class ServedModels {
  readonly #model: CausalLM
  readonly #tokenizer: Tokenizer
  readonly #chatTemplate: ChatTemplate
  readonly #scheduler: GenerationScheduler
  readonly #served = new Map<string, ServedModel>()

  /** @throws ShadowError invalid_file | engine_failed, invalid_request for a model without a chat template */
  static open(modelPath: string, models: readonly ServedModel[]): ServedModels {
    const { model, ...text } = loadModel(new Runtime(), modelPath, { quantization: 'keep' })
    const served = new ServedModels(model, text)
    for (const model of models) served.load(model)
    return served
  }

  private constructor(model: CausalLM, text: ModelText) {
    this.#model = model
    this.#tokenizer = text.tokenizer
    this.#chatTemplate = chatTemplateOf(text)
    this.#scheduler = new GenerationScheduler(model, { maxBatch, maxContext: model.contextLength })
  }

  /** Adds or replaces a model. @throws ShadowError invalid_file when its adapter doesn't fit the base */
  load(model: ServedModel): void {
    if (model.adapterPath !== null) {
      this.#scheduler.addAdapter(model.name, loadLora(this.#model, model.adapterPath))
    }
    this.#served.set(model.name, model)
  }

  names(): string[] {
    return [...this.#served.keys()]
  }

  /** @throws ShadowError not_found */
  policyOf(name: string): ServePolicy {
    return this.#require(name).policy
  }

  /**
   * Answers a conversation under the model's policy.
   * @throws ShadowError invalid_request when the conversation is longer than the context
   */
  async generate(request: GenerationRequest): Promise<Generation> {
    const { adapterPath, policy } = this.#require(request.model)
    const promptIds = this.#chatTemplate.encodePrompt(request.messages, request.tools)
    const limit = this.#model.contextLength
    if (promptIds.length + request.maxTokens > limit) {
      throw new ShadowError(
        'invalid_request',
        `The conversation has ${promptIds.length} tokens and asks for ${request.maxTokens} more; the model's context is ${limit}.`,
      )
    }
    const decoded = this.#tokenizer.decodeStream({ skipSpecialTokens: true })
    const stopText = new StopText(request.stop)
    const stopped = new AbortController()
    let text = ''
    const give = (piece: string): void => {
      if (piece === '') return
      text += piece
      request.onText(piece)
    }
    let tokens = 0
    const generated = this.#scheduler.submit({
      promptIds,
      maxTokens: request.maxTokens,
      temperature: policy.temperature,
      topP: 1,
      stopIds: this.#tokenizer.endTokenIds,
      adapter: adapterPath === null ? null : request.model,
      onToken: (id) => {
        tokens += 1
        give(stopText.push(decoded.push(id)))
        if (stopText.ended) stopped.abort()
      },
      signal: AbortSignal.any([request.signal, stopped.signal]),
    })
    const finishReason = await generated.then(
      (result) => result.finishReason,
      (error: unknown) => {
        if (!stopText.ended) throw error
        return 'stop' as const
      },
    )
    give(stopText.push(decoded.flush()))
    give(stopText.flush())
    return {
      text,
      finishReason: stopText.ended ? 'stop' : finishReason,
      usage: {
        prompt_tokens: promptIds.length,
        completion_tokens: tokens,
        total_tokens: promptIds.length + tokens,
      },
    }
  }

  #require(name: string): ServedModel {
    const model = this.#served.get(name)
    if (model !== undefined) return model
    throw new ShadowError('not_found', `There is no model "${name}" here.`)
  }
}
