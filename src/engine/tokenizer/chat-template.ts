/** Conversations as the text and tokens a model was trained on, by its own Jinja template. */
import { messageOf, ShadowError } from '../../lib/error.ts'
import { plainMessage, type TemplateMessage, type TemplateTool } from './chat-message.ts'
import { TimeLimit } from './template-bounds.ts'
import { TemplateProgram } from './template-program.ts'
import type { Tokenizer } from './tokenizer.ts'
import { parsedJson, withToolsAsText } from './tool-text.ts'

const longestProbeMs = 1000

export interface TemplateOptions {
  /** How long one conversation may take, in milliseconds. Default 30,000; a usual one takes less than one. */
  readonly timeLimitMs?: number
}

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

/** A turn's place in the text: without what the template closes it with, or with all of that. */
interface Turn {
  readonly start: number
  readonly end: number
  readonly closed: boolean
}

/** A model's chat template: conversations as text and tokens, and which of the tokens an assistant wrote. */
export class ChatTemplate {
  readonly #template: TemplateProgram
  readonly #limit = new TimeLimit()
  readonly #timeLimitMs: number
  readonly #tokenizer: Tokenizer
  readonly #knowsTools: boolean

  /**
   * @param source the Jinja template, as `chat_template` of the model's files
   * @throws ShadowError `invalid_file` for a template that cannot be parsed
   */
  constructor(source: string, tokenizer: Tokenizer, { timeLimitMs = 30_000 }: TemplateOptions = {}) {
    this.#timeLimitMs = timeLimitMs
    try {
      this.#template = new TemplateProgram(source)
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
    const prepared = this.#prepare(messages, tools).messages
    return this.#inTime(() => this.#run(prepared, tools, addGenerationPrompt))
  }

  /** The token ids to continue from when the assistant is to answer. */
  encodePrompt(messages: readonly TemplateMessage[], tools: readonly TemplateTool[] = []): Int32Array {
    const prompt = this.render(messages, { tools, addGenerationPrompt: true })
    return this.#inTime(() => this.#tokenizer.encode(prompt))
  }

  /**
   * The conversation as token ids with the exact tokens of the chosen assistant turns marked. A turn starts
   * where the generation prompt ends and includes the token that ends it, not the line break behind it.
   * @throws ShadowError `invalid_request` if a message without a turn of its own is chosen, or if the
   *   template renders a turn so that it cannot be found again
   */
  encode(messages: readonly TemplateMessage[], options: EncodeOptions): EncodedChat {
    return this.#inTime(() => this.#encode(messages, options))
  }

  #encode(messages: readonly TemplateMessage[], { tools = [], lossOn }: EncodeOptions): EncodedChat {
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
      const start = firstNotBelow(encoded.ends, turn.start + 1)
      const limit = firstNotBelow(encoded.starts, turn.end)
      const end = this.#endOfTurn(ids, start, limit, turn.closed)
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

  /**
   * Where in the whole text the assistant's turn stands. Its start is where the prompt that asks for it ends,
   * its end where what follows it begins, each shown by rendering the conversation otherwise: without the
   * turn, and with a mark in its place. Both have to reappear in the whole text as they are.
   */
  #findTurn(
    messages: readonly TemplateMessage[],
    tools: readonly TemplateTool[],
    index: number,
    whole: string,
  ): Turn {
    const mark = '\u{F0000}turn\u{F0001}'
    const marked = { role: 'assistant', content: mark }
    const history = messages.slice(0, index)
    const prompt = this.#attempt(history, tools, true)
    const [head, tail] = cutAt(this.#attempt(messages.with(index, marked), tools, false), mark)
    const opens = (text: string | undefined): text is string => text !== undefined && whole.startsWith(text)
    const start = [
      () => prompt,
      () => withoutLead(head, prompt),
      () => withoutLead(cutAt(this.#attempt([...history, marked], tools, false), mark)[0], prompt),
    ]
      .values()
      .map((text) => text())
      .find(opens)?.length
    if (
      start !== undefined &&
      tail !== undefined &&
      whole.endsWith(tail) &&
      whole.length - tail.length >= start
    )
      return { start, end: whole.length - tail.length, closed: false }
    const through = this.#attempt(messages.slice(0, index + 1), tools, false)
    if (start !== undefined && through !== undefined && whole.startsWith(through) && through.length > start)
      return { start, end: through.length, closed: true }
    throw new ShadowError(
      'invalid_request',
      `The chat template does not show where message ${index} stands.`,
      {
        hint: 'Train on the last assistant message only, or use a model whose template keeps earlier turns.',
      },
    )
  }

  /**
   * Ends a turn behind the control token that closes it: the one right behind an open turn, the last one
   * within a closed one. What comes after is the template's own.
   */
  #endOfTurn(ids: Int32Array, start: number, limit: number, closed: boolean): number {
    const isSpecial = (index: number): boolean => this.#tokenizer.isSpecial(ids[index] ?? -1)
    if (!closed && isSpecial(limit)) return limit + 1
    for (let end = limit; end > start; end--) if (isSpecial(end - 1)) return end
    return isSpecial(limit) ? limit + 1 : limit
  }

  #inTime<T>(work: () => T): T {
    try {
      return this.#limit.run(this.#timeLimitMs, work)
    } catch (thrown) {
      throw thrown instanceof ShadowError
        ? thrown
        : new ShadowError(
            'invalid_request',
            `The model's chat template or tokenizer does not end with this conversation: ${messageOf(thrown)}.`,
            { hint: 'Shorten the conversation, or choose another model file.', cause: thrown },
          )
    }
  }

  /** Renders the first time. @returns whether the template shows tools */
  #probe(): boolean {
    try {
      return this.#limit.run(longestProbeMs, () => this.#showsTools())
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

  /** The text, or undefined if the template refuses such a conversation. */
  #attempt(
    messages: readonly TemplateMessage[],
    tools: readonly TemplateTool[],
    addGenerationPrompt: boolean,
  ): string | undefined {
    try {
      return this.#run(messages, tools, addGenerationPrompt)
    } catch {
      return undefined
    }
  }

  #run(
    messages: readonly TemplateMessage[],
    tools: readonly TemplateTool[],
    addGenerationPrompt: boolean,
  ): string {
    try {
      return this.#template.render({
        messages,
        ...(tools.length > 0 && { tools }),
        add_generation_prompt: addGenerationPrompt,
        ...Object.fromEntries(this.#tokenizer.namedTokens),
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

/** What stands before the mark and what behind it, where it stands in a text once. */
function cutAt(text: string | undefined, mark: string): [string, string] | [undefined, undefined] {
  const [head, tail, ...more] = text?.split(mark) ?? []
  return head === undefined || tail === undefined || more.length > 0 ? [undefined, undefined] : [head, tail]
}

/** A turn's head without the blanks that the template puts between the prompt and what answers it. */
function withoutLead(head: string | undefined, prompt: string | undefined): string | undefined {
  if (head === undefined || prompt === undefined) return head
  const blanks = head.length - head.trimEnd().length
  for (let end = head.length; end >= head.length - blanks; end--)
    if (prompt.endsWith(head.slice(end - 4, end))) return head.slice(0, end)
  return head
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

/** The first index whose entry is at least `value`, in an ascending array; its length if there is none. */
function firstNotBelow(positions: Int32Array, value: number): number {
  let low = 0
  let high = positions.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((positions[middle] ?? 0) < value) low = middle + 1
    else high = middle
  }
  return low
}
