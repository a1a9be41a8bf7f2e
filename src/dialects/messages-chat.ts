/** Anthropic's messages and tools as those of chat completions. */
import { emptyFields, type Fields, isFields, textIn } from './json-fields.ts'
import { contentOfParts, unknownMessage } from './translated.ts'

/** The values that a message's bytes hold: a message, or the member that holds the system prompt or a reply. */
export function messagesToChat(values: readonly unknown[]): unknown[] {
  const messages = values.flatMap((value) => {
    if (!isFields(value)) return [unknownMessage('user', value)]
    if (!('role' in value) && 'system' in value) {
      return [{ role: 'system', content: textOrParts(value['system']) }]
    }
    // A reply is stored as its content alone.
    const { role = 'assistant', content, ...rest } = value
    if (role === 'assistant') return [assistantOf(content, rest)]
    return usersOf(role, content, rest)
  })
  return messages.length === 0 ? [{ role: 'user', content: '' }] : messages
}

/** The system prompt, text or blocks of text. */
export function textOfSystem(system: unknown): string {
  if (typeof system === 'string') return system
  if (!Array.isArray(system)) return ''
  return system
    .map((block) => (isFields(block) && typeof block['text'] === 'string' ? block['text'] : ''))
    .join('')
}

/** A tool that the provider runs itself has no counterpart and stays as it is. */
export function toolToChat(tool: Fields): Fields {
  const { type = 'custom', name, description, input_schema: parameters, ...rest } = tool
  if (type !== 'custom' || typeof name !== 'string') return tool
  const { cache_control: _, ...others } = rest
  const made: Fields = { ...others, name }
  if (typeof description === 'string') made['description'] = description
  if (isFields(parameters)) made['parameters'] = parameters
  return { type: 'function', function: made }
}

function assistantOf(content: unknown, rest: Fields): Fields {
  const message: Fields = { ...emptyFields(), ...rest, role: 'assistant' }
  if (!Array.isArray(content)) return { ...message, content }
  const parts: unknown[] = []
  const calls: Fields[] = []
  const thoughts: string[] = []
  for (const block of content) {
    if (!isFields(block)) parts.push(block)
    else if (block['type'] === 'thinking') thoughts.push(textIn(block, 'thinking'))
    // Encrypted reasoning means nothing to anyone but its provider.
    else if (block['type'] === 'redacted_thinking') continue
    else if (block['type'] === 'tool_use') {
      const { id, name, input } = block
      calls.push({ id, type: 'function', function: { name, arguments: input ?? {} } })
    } else parts.push(partOf(block))
  }
  message['content'] = contentOfParts(parts)
  if (calls.length > 0) message['tool_calls'] = calls
  if (thoughts.length > 0) message['reasoning_content'] = thoughts.join('\n')
  return message
}

/** What tools returned comes inside a user's message, and is one message each in chat completions. */
function usersOf(role: unknown, content: unknown, rest: Fields): Fields[] {
  if (!Array.isArray(content)) return [{ ...rest, role, content }]
  const messages: Fields[] = []
  let parts: unknown[] = []
  const flush = () => {
    if (parts.length > 0) messages.push({ ...rest, role, content: contentOfParts(parts) })
    parts = []
  }
  for (const block of content) {
    if (isFields(block) && block['type'] === 'tool_result') {
      flush()
      messages.push(toolResultOf(block))
    } else parts.push(isFields(block) ? partOf(block) : block)
  }
  flush()
  return messages.length === 0 ? [{ ...rest, role, content: '' }] : messages
}

function toolResultOf(block: Fields): Fields {
  const { type: _, tool_use_id: id, content, cache_control: __, is_error: failed, ...rest } = block
  return {
    ...rest,
    role: 'tool',
    tool_call_id: id,
    content: textOrParts(content ?? ''),
    ...(failed === true ? { is_error: true } : {}),
  }
}

function textOrParts(content: unknown): unknown {
  if (!Array.isArray(content)) return content
  return contentOfParts(content.map((block) => (isFields(block) ? partOf(block) : block)))
}

function partOf(block: Fields): Fields {
  const { cache_control: _, citations: __, ...rest } = block
  const { source } = rest
  if (rest['type'] !== 'image' || !isFields(source)) return rest
  const { type, media_type: media, data, url } = source
  if (type === 'base64')
    return { type: 'image_url', image_url: { url: `data:${String(media)};base64,${String(data)}` } }
  return type === 'url' ? { type: 'image_url', image_url: { url } } : rest
}
