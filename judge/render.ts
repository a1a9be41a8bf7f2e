/** Conversations as a judge or a person reads them. */
import type { ChatMessage, ToolDefinition } from '../src/contract/index.ts'
import { textOf } from '../src/contract/index.ts'

/**
 * What a message says: its text, its refusal, and its tool calls as `call name(arguments)`, one a line. Ids of
 * tool calls are left out: they are accidents of the upstream, and would tell equal replies apart.
 */
export function renderMessage(message: ChatMessage): string {
  const lines: string[] = []
  const text = textOf(message)
  if (text !== '') lines.push(text)
  for (const part of otherParts(message)) lines.push(`[${part}]`)
  if (typeof message.refusal === 'string' && message.refusal !== '')
    lines.push(`[refusal] ${message.refusal}`)
  for (const { function: called } of message.tool_calls ?? [])
    lines.push(`call ${called.name}(${called.arguments})`)
  return lines.join('\n')
}

/** One tool a line: its name, its description and its parameters as JSON. */
export function renderTools(tools: readonly ToolDefinition[]): string {
  return tools
    .map(({ type, function: declared }) => {
      if (declared === undefined) return type
      const about = declared.description === undefined ? '' : `: ${declared.description}`
      return `${declared.name}${about} ${JSON.stringify(declared.parameters ?? {})}`
    })
    .join('\n')
}

/** Kinds of the parts that are no text, for a reader who can't see them. */
function otherParts({ content }: ChatMessage): string[] {
  return Array.isArray(content)
    ? content.filter((part) => part.text === undefined).map((part) => part.type)
    : []
}
