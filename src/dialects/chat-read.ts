/** Stored chat messages and tools in the contract's form. */
import { type ChatMessage, chatMessage, type ToolDefinition, toolDefinition } from '../contract/index.ts'
import { parseSlice } from '../lib/json-slices.ts'
import { isFields } from './json-fields.ts'

/**
 * The message, as the schema knows it where that is possible. What some upstream accepted and the schema
 * doesn't name is translated rather than refused: the `function` role, custom tools, arguments as objects.
 */
export function readChatMessage(value: unknown): ChatMessage {
  const known = chatMessage.safeParse(value)
  if (known.success) return known.data
  if (!isFields(value)) return { role: 'user', content: JSON.stringify(value) }
  const { role, content, name, refusal, reasoning_content: reasoning, tool_calls: calls, ...rest } = value
  const translated = chatMessage.safeParse({
    ...rest,
    role: role === 'function' ? 'tool' : role,
    content: contentOf(content),
    ...(typeof name === 'string' ? { name } : {}),
    ...(typeof refusal === 'string' ? { refusal } : {}),
    ...(typeof reasoning === 'string' ? { reasoning_content: reasoning } : {}),
    ...(Array.isArray(calls) ? { tool_calls: calls.map(toolCallOf) } : {}),
    tool_call_id: typeof rest['tool_call_id'] === 'string' ? rest['tool_call_id'] : undefined,
  })
  return translated.success ? translated.data : { role: 'user', content: JSON.stringify(value) }
}

export function readChatTools(bytes: Uint8Array): ToolDefinition[] {
  return readTools(parseSlice(bytes))
}

/** @param value a list of tools, parsed */
export function readTools(value: unknown): ToolDefinition[] {
  if (!Array.isArray(value)) return []
  return value.map((tool) => {
    const known = toolDefinition.safeParse(tool)
    return known.success ? known.data : { type: 'unknown', definition: tool }
  })
}

function contentOf(content: unknown): unknown {
  if (content === null || content === undefined || typeof content === 'string') return content
  if (!Array.isArray(content)) return JSON.stringify(content)
  return content.map((part: unknown) => {
    if (typeof part === 'string') return { type: 'text', text: part }
    return isFields(part) && typeof part['type'] === 'string' ? part : { type: 'unknown', part }
  })
}

function toolCallOf(call: unknown): unknown {
  if (!isFields(call))
    return { id: '', type: 'function', function: { name: '', arguments: JSON.stringify(call) } }
  const made = [call['function'], call['custom']].find(isFields) ?? {}
  const input = made['arguments'] ?? made['input'] ?? ''
  return {
    id: typeof call['id'] === 'string' ? call['id'] : '',
    type: 'function',
    function: {
      name: typeof made['name'] === 'string' ? made['name'] : '',
      arguments: typeof input === 'string' ? input : JSON.stringify(input),
    },
  }
}
