/** Items of OpenAI's responses as messages of chat completions. */
import { emptyFields, type Fields, isFields, textIn } from './json-fields.ts'
import { contentOfParts, unknownMessage } from './translated.ts'

/** Whether a model made the item, rather than its user or the user's tools. */
export function isOfModel(item: unknown): boolean {
  if (!isFields(item)) return false
  const { type, role, execution } = item
  if (typeof role === 'string') return role === 'assistant'
  if (typeof type !== 'string' || type === 'message') return false
  if (type === 'mcp_approval_response') return false
  // What the provider's own tools return is part of the reply.
  return !type.endsWith('_output') || execution === 'server'
}

/** The values that a message's bytes hold: items, or the member that holds the instructions or a text. */
export function itemsToChat(values: readonly unknown[]): unknown[] {
  const [first] = values
  if (isFields(first) && !('type' in first) && !('role' in first)) {
    if ('instructions' in first) return [{ role: 'system', content: instructionsOf(first['instructions']) }]
    if ('input' in first) return [{ role: 'user', content: first['input'] }]
    if ('output' in first) return [{ role: 'assistant', content: null }]
  }
  if (values.length > 0 && values.every(isOfModel)) return [assistantOf(values.filter(isFields))]
  // A reply may hold what its tools returned; what follows the model's own items then stays with them.
  if (isOfModel(first)) return [assistantOf(values.filter(isFields))]
  const messages = values.map(inputToChat)
  return messages.length === 0 ? [{ role: 'user', content: '' }] : messages
}

/** A tool that the provider runs itself has no counterpart and stays as it is. */
export function responsesToolToChat(tool: Fields): Fields {
  const { type, ...rest } = tool
  if (type !== 'function') return tool
  return {
    type,
    function: Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== null)),
  }
}

function instructionsOf(value: unknown): unknown {
  return Array.isArray(value) ? value.map((item) => JSON.stringify(item)).join('\n') : value
}

function inputToChat(item: unknown): Fields {
  if (!isFields(item)) return unknownMessage('user', item)
  const { id: _, status: __, type, role, content, output, call_id: call, ...rest } = item
  if (typeof role === 'string') return { ...rest, role, content: contentOf(content) }
  if (type === 'function_call_output' || type === 'custom_tool_call_output') {
    return { ...rest, role: 'tool', tool_call_id: call, content: contentOf(output) }
  }
  const named = typeof call === 'string' ? { tool_call_id: call } : {}
  return { ...named, ...unknownMessage('tool', { ...rest, type, content, output }) }
}

function assistantOf(items: readonly Fields[]): Fields {
  const message: Fields = { ...emptyFields(), role: 'assistant' }
  const parts: unknown[] = []
  const calls: Fields[] = []
  const thoughts: string[] = []
  const refusals: string[] = []
  for (const item of items) {
    const { id: _, status: __, ...rest } = item
    const { type = 'message', name, call_id: call } = rest
    if (type === 'message') {
      for (const part of listOf(rest['content'])) {
        if (isFields(part) && part['type'] === 'refusal') refusals.push(textIn(part, 'refusal'))
        else parts.push(partOf(part))
      }
    } else if (type === 'reasoning') thoughts.push(...reasoningOf(rest))
    else if (type === 'function_call') {
      calls.push({ id: call, type: 'function', function: { name, arguments: rest['arguments'] ?? '' } })
    } else if (type === 'custom_tool_call') {
      calls.push({ id: call, type: 'function', function: { name, arguments: rest['input'] ?? '' } })
    } else parts.push(type === 'item_reference' ? item : rest)
  }
  message['content'] = contentOfParts(parts)
  if (calls.length > 0) message['tool_calls'] = calls
  if (refusals.length > 0) message['refusal'] = refusals.join('')
  if (thoughts.length > 0) message['reasoning_content'] = thoughts.join('\n')
  return message
}

/** What the provider shows of the model's reasoning. */
function reasoningOf({ summary, content }: Fields): string[] {
  return [...listOf(content), ...listOf(summary)].flatMap((part) =>
    isFields(part) && typeof part['text'] === 'string' && part['text'] !== '' ? [part['text']] : [],
  )
}

function contentOf(content: unknown): unknown {
  return Array.isArray(content) ? contentOfParts(content.map(partOf)) : content
}

function listOf(content: unknown): unknown[] {
  if (Array.isArray(content)) return content
  return typeof content === 'string' ? [{ type: 'text', text: content }] : []
}

const textTypes = new Set<unknown>(['input_text', 'output_text', 'text'])

function partOf(part: unknown): unknown {
  if (!isFields(part)) return part
  const { type, text, image_url: url, detail } = part
  if (textTypes.has(type)) return { type: 'text', text }
  if (type === 'input_image' && typeof url === 'string') {
    return {
      type: 'image_url',
      image_url: { url, ...(detail === 'auto' || detail === undefined ? {} : { detail }) },
    }
  }
  return part
}
