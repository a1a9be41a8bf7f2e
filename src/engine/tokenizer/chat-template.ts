/** Conversations as the text and tokens a model was trained on, by its own Jinja template. */
import type { Template } from '@huggingface/jinja'
import { messageOf, ShadowError } from '../../lib/error.ts'
import { plainMessage, type TemplateMessage, type TemplateTool } from './chat-message.ts'
import { boundedRange, boundedTemplate, withinTime } from './template-bounds.ts'
import type { Tokenizer } from './tokenizer.ts'
import { parsedJson, withToolsAsText } from './tool-text.ts'

const longestProbeMs = 1000

export interface RenderOptions {
  readonly tools?: readonly TemplateTool[]
  /** End with the opening of an assistant's turn. Default false. */
  readonly addGenerationPrompt?: boolean
}

export interface EncodeOptions {
  readonly tools?: readonly TemplateTool[]
  /** One entry a message: whether its tokens are targets. Only assistant messages can be. */
  readonly lossOn: readonly boolean[]
}

export interface EncodedChat {
  readonly ids: Int32Array
  /** 1 where the token is a target: the assistant's text and the token that ends its turn; else 0. */
  readonly targetMask: Uint8Array
  /** The targets message by message, as token ranges `[start, end)`. */
  readonly spans: readonly { readonly message: number; readonly start: number; readonly end: number }[]
}

export class ChatTemplate {
  readonly #template: Template
  readonly #tokenizer: Tokenizer
  readonly #knowsTools: boolean

  /**
   * @param source the Jinja template, as `chat_template` of the model's files
   * @throws ShadowError `invalid_file` for a template that cannot be parsed
   */
  constructor(source: string, tokenizer: Tokenizer) {
    try {
      this.#template = boundedTemplate(source)
    } catch (thrown) {
      throw new ShadowError('invalid_file', `The chat template cannot be read: ${messageOf(thrown)}.`, {
        hint: 'The model file is damaged; fetch it again.',
        cause: thrown,
      })
    }
    this.#tokenizer = tokenizer
    this.#knowsTools = this.#probe()
  }

  /**
   * The conversation as text. Tools that the template cannot show become text by the rule of tool-text.ts.
   * @throws ShadowError `invalid_request` if the template refuses the conversation
   */
  render(
    messages: readonly TemplateMessage[],
    { tools = [], addGenerationPrompt = false }: RenderOptions = {},
  ): string {
    return this.#run(this.#prepare(messages, tools).messages, tools, addGenerationPrompt)
  }

  /** The token ids to continue from when the assistant is to answer. */
  encodePrompt(messages: readonly TemplateMessage[], tools: readonly TemplateTool[] = []): Int32Array {
    return this.#tokenizer.encode(this.render(messages, { tools, addGenerationPrompt: true }))
  }

  /**
   * The conversation as token ids with the exact tokens of the chosen assistant turns marked. A turn starts
   * where the generation prompt ends and includes the token that ends it, not the line break behind it.
   * @throws ShadowError `invalid_request` if a message without a turn of its own is chosen, or if the
   *   template renders a turn so that it cannot be found again
   */
  encode(messages: readonly TemplateMessage[], { tools = [], lossOn }: EncodeOptions): EncodedChat {
    if (lossOn.length !== messages.length)
      throw new ShadowError(
        'invalid_request',
        `lossOn has ${lossOn.length} entries for ${messages.length} messages.`,
      )
    const prepared = this.#prepare(messages, tools)
    const whole = this.#run(prepared.messages, tools, false)
    const encoded = this.#tokenizer.encodeWithOffsets(whole)
    const { ids } = encoded
    const targetMask = new Uint8Array(ids.length)
    const spans: { message: number; start: number; end: number }[] = []
    prepared.sources.forEach((source, index) => {
      if (source < 0 || lossOn[source] !== true) return
      if (prepared.messages[index]?.role !== 'assistant')
        throw new ShadowError(
          'invalid_request',
          `Message ${source} cannot carry loss: its role is ${messages[source]?.role}.`,
          { hint: 'Only assistant messages can be targets.' },
        )
      const turn = this.#findTurn(prepared.messages, tools, index, whole)
      const start = firstTokenBehind(encoded.byteEnds, Buffer.byteLength(whole.slice(0, turn.start)) + 1)
      const limit = firstTokenBehind(encoded.byteStarts, Buffer.byteLength(whole.slice(0, turn.end)))
      const end = this.#endOfTurn(ids, start, limit)
      targetMask.fill(1, start, end)
      spans.push({ message: source, start, end })
    })
    return { ids, targetMask, spans }
  }

  #prepare(
    messages: readonly TemplateMessage[],
    tools: readonly TemplateTool[],
  ): { messages: readonly TemplateMessage[]; sources: readonly number[] } {
    const plain = messages.map(plainMessage)
    const usesTools =
      tools.length > 0 || plain.some((m) => m.role === 'tool' || (m.tool_calls?.length ?? 0) > 0)
    if (usesTools && !this.#knowsTools) return withToolsAsText(plain, tools)
    return { messages: plain.map(withParsedArguments), sources: plain.map((_, index) => index) }
  }

  /** Where in the whole text the assistant's turn stands: after the generation prompt, to the turn's end. */
  #findTurn(
    messages: readonly TemplateMessage[],
    tools: readonly TemplateTool[],
    index: number,
    whole: string,
  ): { start: number; end: number } {
    const before = this.#run(messages.slice(0, index), tools, true)
    const through = this.#run(messages.slice(0, index + 1), tools, false)
    if (whole.startsWith(before) && whole.startsWith(through) && before.length < through.length)
      return { start: before.length, end: through.length }

    // The template renders history otherwise than the present (it strips reasoning, say): look for the
    // turn by putting a mark in its place.
    const mark = '\u{F0000}turn\u{F0001}'
    const marked = this.#run(messages.with(index, { role: 'assistant', content: mark }), tools, false)
    const start = marked.indexOf(mark)
    const tail = marked.slice(start + mark.length)
    const end = whole.length - tail.length
    const found = start >= 0 && whole.startsWith(marked.slice(0, start)) && whole.endsWith(tail)
    if (found && whole.slice(start, end) === messages[index]?.content) return { start, end }
    throw new ShadowError(
      'invalid_request',
      `The chat template does not show where message ${index} stands.`,
      {
        hint: 'Train on the last assistant message only, or use a model whose template keeps earlier turns.',
      },
    )
  }

  /**
   * Ends a turn behind its last control token, be it inside the range or right behind it; what follows is
   * the template's own.
   */
  #endOfTurn(ids: Int32Array, start: number, limit: number): number {
    for (let end = limit; end > start; end--) if (this.#tokenizer.isSpecial(ids[end - 1] ?? -1)) return end
    return this.#tokenizer.isSpecial(ids[limit] ?? -1) ? limit + 1 : limit
  }

  /** Renders the first time. @returns whether the template shows tools */
  #probe(): boolean {
    try {
      return withinTime(longestProbeMs, () => this.#showsTools())
    } catch (thrown) {
      throw new ShadowError('invalid_file', `The chat template does not end: ${messageOf(thrown)}.`, {
        hint: 'Choose another model file; this one holds a template that loops.',
        cause: thrown,
      })
    }
  }

  #showsTools(): boolean {
    const name = 'shadow_probe_tool'
    const probe: TemplateTool = { type: 'function', function: { name, description: '', parameters: {} } }
    try {
      return this.#run([{ role: 'user', content: 'x' }], [probe], false).includes(name)
    } catch {
      return false
    }
  }

  #run(
    messages: readonly TemplateMessage[],
    tools: readonly TemplateTool[],
    addGenerationPrompt: boolean,
  ): string {
    const token = (id: number | undefined): string =>
      id === undefined ? '' : (this.#tokenizer.tokenOf(id) ?? '')
    try {
      return this.#template.render({
        bounded_range: boundedRange,
        messages,
        ...(tools.length > 0 && { tools }),
        add_generation_prompt: addGenerationPrompt,
        bos_token: token(this.#tokenizer.bosTokenId),
        eos_token: token(this.#tokenizer.eosTokenId),
      })
    } catch (thrown) {
      throw new ShadowError(
        'invalid_request',
        `The model's chat template refuses this conversation: ${messageOf(thrown)}.`,
        {
          hint: 'Check the order and the roles of the messages.',
          cause: thrown,
        },
      )
    }
  }
}

/** Templates that know tools write arguments with `tojson`, so they are handed over as objects. */
function withParsedArguments(message: TemplateMessage): TemplateMessage {
  if (!message.tool_calls?.length) return message
  const calls = message.tool_calls.map((call) => ({
    ...call,
    function: { ...call.function, arguments: parsedJson(call.function.arguments) ?? call.function.arguments },
  }))
  return Object.assign({}, message, { tool_calls: calls })
}

/** The first index whose entry is at least `byte`, in an ascending array; its length if there is none. */
function firstTokenBehind(positions: Int32Array, byte: number): number {
  let low = 0
  let high = positions.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((positions[middle] ?? 0) < byte) low = middle + 1
    else high = middle
  }
  return low
}
