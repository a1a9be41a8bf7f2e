/** A trajectory as a line of ShareGPT, with the roles that tools know for function calls and what they gave back. */
import { type ChatMessage, textOf, type Trajectory } from '../../contract/index.ts'

interface Turn {
  from: 'human' | 'gpt' | 'function_call' | 'observation'
  value: string
}

export function conversationLine({ session, leaf, messages, tools }: Trajectory): string {
  const leading = messages.findIndex(({ role }) => role !== 'system' && role !== 'developer')
  const instructions = messages.slice(0, leading === -1 ? messages.length : leading)
  return JSON.stringify({
    id: `${session}-${leaf.slice(0, 16)}`,
    conversations: messages.slice(instructions.length).flatMap(turnsOf),
    ...(instructions.length === 0 ? {} : { system: instructions.map(textOf).join('\n') }),
    ...(tools.length === 0 ? {} : { tools: JSON.stringify(tools.map((tool) => tool.function ?? tool)) }),
  })
}

function turnsOf(message: ChatMessage): Turn[] {
  const value = textOf(message)
  switch (message.role) {
    case 'user':
    case 'system':
    case 'developer':
      return [{ from: 'human', value }]
    case 'tool':
      return [{ from: 'observation', value }]
    case 'assistant': {
      const calls = (message.tool_calls ?? []).map(
        ({ function: { name, arguments: given } }): Turn => ({
          from: 'function_call',
          value: JSON.stringify({ name, arguments: parsed(given) }),
        }),
      )
      return value === '' && calls.length > 0 ? calls : [{ from: 'gpt', value }, ...calls]
    }
  }
}

/** Arguments are objects there; what a model wrote that is no JSON stays a text. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
