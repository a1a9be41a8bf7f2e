/**
 * What a chat template is shown. The shape is the part of OpenAI's chat messages that templates read, so
 * messages of the chat dialect can be handed in as they are.
 */
export interface TemplateMessage {
  /** `system`, `user`, `assistant`, `tool`, or what else the template knows; `developer` counts as `system`. */
  readonly role: string
  /** Parts are joined by their text; null and absent are ''. A lone surrogate is U+FFFD. */
  readonly content?: string | readonly { readonly text?: string | undefined }[] | null | undefined
  /** `arguments` is JSON text. */
  readonly tool_calls?:
    | readonly { readonly function: { readonly name: string; readonly arguments: string } }[]
    | null
    | undefined
}

/** A tool as OpenAI's requests list it. */
export interface TemplateTool {
  /** `function`. */
  readonly type: string
  /** Its name, what it is for, and the JSON schema of its arguments. */
  readonly function?:
    | {
        readonly name: string
        readonly description?: string | undefined
        readonly parameters?: Record<string, unknown> | undefined
      }
    | undefined
}

/**
 * The rules that make a message plain before any template sees it: content is a string, the role
 * `developer` is `system`.
 */
export function plainMessage(message: TemplateMessage): TemplateMessage & { readonly content: string } {
  const { content } = message
  const text = typeof content === 'string' ? content : (content ?? []).map((part) => part.text ?? '').join('')
  return {
    ...message,
    role: message.role === 'developer' ? 'system' : message.role,
    content: text.toWellFormed(),
  }
}
