/**
 * Tools as plain text, for models whose chat template does not know them, and the way back from a model's
 * text to tool calls. The rule:
 * - the tools stand in the system message, one JSON object a line between `<tools>` tags;
 * - an assistant's calls follow its text as `<tool_call>{"name": …, "arguments": …}</tool_call>`;
 * - results are a user turn, each in `<tool_response>` tags, consecutive ones in one turn.
 */
import type { TemplateMessage, TemplateTool } from './chat-message.ts'

const open = '<tool_call>'
const close = '</tool_call>'

/** A call as text. `argumentsJson` is placed as it is where it is JSON, as a string where it is not. */
function toolCallText(name: string, argumentsJson: string): string {
  return `${open}${JSON.stringify({ name, arguments: parsedJson(argumentsJson) ?? argumentsJson })}${close}`
}

/** The paragraph that tells a model of its tools. */
function toolsText(tools: readonly TemplateTool[]): string {
  const lines = tools.flatMap((tool) => (tool.function === undefined ? [] : [JSON.stringify(tool.function)]))
  return [
    'You can call these functions:',
    '<tools>',
    ...lines,
    '</tools>',
    `To call one, write ${open}{"name": "its name", "arguments": {…}}${close}.`,
  ].join('\n')
}

/**
 * Rewrites a conversation so that a template without tools shows them.
 * @returns messages with only `role` and string `content`, and for each the index of the message it came
 *   from (its last one, where results were joined; −1 for a system message that had to be added)
 */
export function withToolsAsText(
  messages: readonly TemplateMessage[],
  tools: readonly TemplateTool[],
): { messages: TemplateMessage[]; sources: number[] } {
  const out: TemplateMessage[] = []
  const sources: number[] = []
  let inResults = false
  messages.forEach((message, index) => {
    const last = out.at(-1)
    const content =
      message.role === 'tool' ? `<tool_response>\n${text(message)}\n</tool_response>` : text(message)
    if (message.role === 'tool' && inResults && last !== undefined) {
      out[out.length - 1] = { role: 'user', content: `${text(last)}\n${content}` }
      sources[sources.length - 1] = index
      return
    }
    inResults = message.role === 'tool'
    const calls = (message.tool_calls ?? []).map((call) =>
      toolCallText(call.function.name, call.function.arguments),
    )
    out.push({
      role: inResults ? 'user' : message.role,
      content: [content, ...calls].filter((part, i) => i > 0 || part !== '' || calls.length === 0).join('\n'),
    })
    sources.push(index)
  })
  if (tools.length === 0) return { messages: out, sources }
  const [first] = out
  if (first?.role === 'system') out[0] = { role: 'system', content: `${text(first)}\n\n${toolsText(tools)}` }
  else {
    out.unshift({ role: 'system', content: toolsText(tools) })
    sources.unshift(-1)
  }
  return { messages: out, sources }
}

export interface ParsedReply {
  /** The text without its tool calls, trimmed where calls were taken out. */
  readonly content: string
  /** `arguments` is JSON text. */
  readonly toolCalls: readonly { readonly name: string; readonly arguments: string }[]
}

/**
 * Finds the tool calls in what a model wrote. Inside each `<tool_call>` block the first JSON object with a
 * `name` counts, whatever stands around it; a block without one is dropped; a block that is never closed is
 * read to the end of the text. Missing arguments are `{}`.
 */
export function parseToolCalls(reply: string): ParsedReply {
  const pieces = reply.split(open)
  if (pieces.length === 1) return { content: reply, toolCalls: [] }
  let content = pieces[0] ?? ''
  const toolCalls: { name: string; arguments: string }[] = []
  for (const piece of pieces.slice(1)) {
    const end = piece.indexOf(close)
    const call = firstCall(end < 0 ? piece : piece.slice(0, end))
    if (call !== undefined) toolCalls.push(call)
    if (end >= 0) content += piece.slice(end + close.length)
  }
  return { content: content.trim(), toolCalls }
}

function firstCall(block: string): { name: string; arguments: string } | undefined {
  for (let start = block.indexOf('{'); start >= 0; start = block.indexOf('{', start + 1)) {
    const object = parsedJson(balancedObject(block, start))
    if (isRecord(object) && typeof object['name'] === 'string') {
      const given = object['arguments'] ?? {}
      return { name: object['name'], arguments: typeof given === 'string' ? given : JSON.stringify(given) }
    }
  }
  return undefined
}

/** The text from a `{` to the `}` that closes it, minding strings; to the end if none does. */
function balancedObject(text: string, start: number): string {
  let depth = 0
  let inString = false
  for (let i = start; i < text.length; i++) {
    const char = text[i]
    if (inString) {
      if (char === '\\') i++
      else if (char === '"') inString = false
    } else if (char === '"') inString = true
    else if (char === '{') depth++
    else if (char === '}' && --depth === 0) return text.slice(start, i + 1)
  }
  return text.slice(start)
}

/** JSON's value; undefined for text that is not JSON. */
export function parsedJson(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function text(message: TemplateMessage): string {
  return typeof message.content === 'string' ? message.content : ''
}
