/**
 * The one internal form of a message: OpenAI's chat shape, which every dialect translates to and from.
 * Bytes as they came live in the store; this is what they mean.
 */
import { z } from 'zod'

export const toolCall = z.object({
  id: z.string(),
  type: z.literal('function').default('function'),
  /** `arguments` is the JSON text the model wrote, which need not be valid JSON. */
  function: z.object({ name: z.string(), arguments: z.string() }),
})
export type ToolCall = z.infer<typeof toolCall>

/** A content part; only text is trainable today, other kinds are kept as they came. */
export const contentPart = z.looseObject({ type: z.string(), text: z.string().optional() })
export type ContentPart = z.infer<typeof contentPart>

export const messageRole = z.enum(['system', 'developer', 'user', 'assistant', 'tool'])
export type MessageRole = z.infer<typeof messageRole>

export const chatMessage = z.looseObject({
  role: messageRole,
  content: z.union([z.string(), z.array(contentPart), z.null()]).optional(),
  name: z.string().optional(),
  refusal: z.string().nullish(),
  reasoning_content: z.string().nullish(),
  tool_calls: z.array(toolCall).nullish(),
  tool_call_id: z.string().optional(),
})
export type ChatMessage = z.infer<typeof chatMessage>

/** A function tool as chat completions declare it. */
export const toolDefinition = z.looseObject({
  type: z.string(),
  function: z
    .looseObject({
      name: z.string(),
      description: z.string().optional(),
      parameters: z.record(z.string(), z.unknown()).optional(),
    })
    .optional(),
})
export type ToolDefinition = z.infer<typeof toolDefinition>

/** The text of a message's content: parts joined, null and absent as ''. */
export function textOf(message: Pick<ChatMessage, 'content'>): string {
  const { content } = message
  if (content === null || content === undefined) return ''
  if (typeof content === 'string') return content
  return content.map((part) => part.text ?? '').join('')
}

/** The last thing the user said; '' when nobody said anything. */
export function lastUserText(messages: readonly ChatMessage[]): string {
  const last = messages.findLast((message) => message.role === 'user')
  return last === undefined ? '' : textOf(last)
}
