/** `shadow generate` and `shadow chat`: any model that is here, by name, path or task. */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import {
  chatTemplateOf,
  type LanguageModel,
  load,
  type Reply,
  type TemplateMessage,
  type TemplateTool,
} from '../engine/index.ts'
import { messageOf, ShadowError } from '../lib/error.ts'
import { resolveTarget } from './models.ts'
import type { Workspace } from './workspace.ts'

export interface TextOptions {
  /** `owned/X` (its newest version), `X@3`, an adapter's folder, a base model's name or path. */
  target: string
  /** Instead of the base that an adapter names. */
  base?: string | undefined
  /** Quantises the matrices to 4 bits while they are loaded. Default false. */
  loadIn4bit?: boolean
  /** Default 0.7; 0 is greedy. */
  temperature?: number
  maxNewTokens?: number
  /** Default 0. */
  seed?: number
  /** Says on stderr what is loaded. Default false. */
  verbose?: boolean
}

/**
 * Goes on from a text.
 * @param onText each piece as it comes
 * @throws ShadowError not_found | missing_base | invalid_request | invalid_file
 */
export async function generateText(
  workspace: Workspace,
  {
    prompt,
    onText,
    signal,
    ...options
  }: TextOptions & {
    prompt: string
    onText: (text: string) => void
    signal: AbortSignal
  },
): Promise<void> {
  using model = await openTarget(workspace, options)
  await model.generate(prompt, { ...sampling(options), onText, signal })
}

export interface ChatOptions extends TextOptions {
  /** Default: none. */
  system?: string | undefined
  tools?: readonly TemplateTool[]
}

/** A conversation under way. Disposing it frees the model. */
export class Chat implements Disposable {
  readonly #model: LanguageModel
  readonly #options: ChatOptions
  readonly #messages: TemplateMessage[]

  /** @throws ShadowError not_found | missing_base | invalid_file, invalid_request for a model without a chat template */
  static async open(workspace: Workspace, options: ChatOptions): Promise<Chat> {
    const model = await openTarget(workspace, options)
    chatTemplateOf(model.text)
    return new Chat(model, options)
  }

  private constructor(model: LanguageModel, options: ChatOptions) {
    this.#model = model
    this.#options = options
    this.#messages = options.system === undefined ? [] : [{ role: 'system', content: options.system }]
  }

  /**
   * One turn. A turn that fails or is stopped leaves the conversation as it was.
   * @param onText each piece of the reply as it comes, calls of tools left out
   * @throws ShadowError invalid_request when the conversation has become too long
   */
  async say(text: string, onText: (text: string) => void, signal?: AbortSignal): Promise<Reply> {
    const asked: TemplateMessage = { role: 'user', content: text }
    const visible = new VisibleText(onText)
    const reply = await this.#model.chat([...this.#messages, asked], {
      ...sampling(this.#options),
      ...(this.#options.tools !== undefined && { tools: this.#options.tools }),
      ...(signal !== undefined && { signal }),
      onText: (piece) => visible.push(piece),
    })
    visible.end()
    this.#messages.push(asked, reply.toMessage())
    return reply
  }

  [Symbol.dispose](): void {
    this.#model.dispose()
  }
}

const toolList = z.array(
  z.object({
    type: z.literal('function').default('function'),
    function: z.object({
      name: z.string(),
      description: z.string().optional(),
      parameters: z.record(z.string(), z.unknown()).optional(),
    }),
  }),
)

/** Tools as OpenAI's requests list them, from a JSON file. @throws ShadowError not_found | invalid_file */
export function readTools(path: string): TemplateTool[] {
  let json: unknown
  try {
    json = JSON.parse(readFileSync(path, 'utf8'))
  } catch (thrown) {
    throw new ShadowError('invalid_file', `Can't read the tools in ${path}: ${messageOf(thrown)}.`)
  }
  const parsed = toolList.safeParse(json)
  if (parsed.success) return parsed.data
  throw new ShadowError('invalid_file', `${path}: ${z.prettifyError(parsed.error)}`, {
    hint: 'It has to be a list of {"type": "function", "function": {"name": …, "parameters": …}}.',
  })
}

async function openTarget(workspace: Workspace, options: TextOptions): Promise<LanguageModel> {
  const { basePath, adapterFolder } = await resolveTarget(workspace, options.target, options.base)
  return await load(basePath, {
    verbose: options.verbose ?? false,
    ...(adapterFolder !== null && { adapter: adapterFolder }),
    ...(options.loadIn4bit === true && { quantization: { bits: 4 } }),
  })
}

function sampling({ temperature, maxNewTokens, seed }: TextOptions) {
  return {
    ...(temperature !== undefined && { temperature }),
    ...(maxNewTokens !== undefined && { maxNewTokens }),
    ...(seed !== undefined && { seed }),
  }
}

const callTag = '<tool_call>'

/** Passes a reply on until its first tool call, holding back what may be the beginning of one. */
class VisibleText {
  readonly #give: (text: string) => void
  #held = ''
  #calling = false

  constructor(give: (text: string) => void) {
    this.#give = give
  }

  push(piece: string): void {
    if (this.#calling) return
    const text = this.#held + piece
    const call = text.indexOf(callTag)
    this.#calling = call >= 0
    const end = call >= 0 ? call : text.length - beginningOfTag(text)
    this.#held = text.slice(end)
    if (end > 0) this.#give(text.slice(0, end))
  }

  end(): void {
    if (!this.#calling && this.#held !== '') this.#give(this.#held)
  }
}

/** How many characters at the end may become a tag. */
function beginningOfTag(text: string): number {
  for (let length = Math.min(callTag.length - 1, text.length); length > 0; length--)
    if (callTag.startsWith(text.slice(-length))) return length
  return 0
}
