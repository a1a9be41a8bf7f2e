/** What the server understands of a chat completion request, and what it refuses rather than ignores. */
import { z } from 'zod'
import { chatMessage, toolDefinition } from '../contract/message.ts'
import type { ServePolicy } from '../contract/task.ts'
import { ShadowError } from '../lib/error.ts'

const chatRequest = z.looseObject({
  model: z.string(),
  messages: z.array(chatMessage).min(1),
  tools: z.array(toolDefinition).nullish(),
  max_tokens: z.number().int().positive().nullish(),
  max_completion_tokens: z.number().int().positive().nullish(),
  n: z.number().int().min(1).max(16).nullish(),
  stop: z.union([z.string(), z.array(z.string())]).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  logprobs: z.boolean().nullish(),
  response_format: z.looseObject({ type: z.string() }).nullish(),
  tool_choice: z.unknown().optional(),
})

export interface ChatRequest {
  model: string
  messages: z.infer<typeof chatMessage>[]
  tools: z.infer<typeof toolDefinition>[]
  maxTokens: number
  n: number
  stop: string[]
  stream: boolean
  includeUsage: boolean
}

/**
 * Reads a request body. An agent's temperature and top_p give way to the policy, since the evaluation
 * didn't measure them; what would change the shape of the answer and can't be done is refused, so that the
 * router lets the frontier answer.
 * @throws ShadowError invalid_request
 */
export function readChatRequest(body: unknown, policyOf: (model: string) => ServePolicy): ChatRequest {
  const parsed = chatRequest.safeParse(body)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw new ShadowError(
      'invalid_request',
      `${issue?.path.join('.') ?? 'body'}: ${issue?.message ?? 'not valid'}.`,
    )
  }
  const request = parsed.data
  const refused = [
    ...(request.logprobs === true ? ['logprobs'] : []),
    ...(request.response_format && request.response_format.type !== 'text' ? ['response_format'] : []),
    ...(forcesTool(request.tool_choice) ? ['tool_choice'] : []),
  ]
  if (refused.length > 0) {
    throw new ShadowError('invalid_request', `The owned model does not support ${refused.join(', ')} yet.`)
  }
  const policy = policyOf(request.model)
  return {
    model: request.model,
    messages: request.messages,
    tools: request.tool_choice === 'none' ? [] : (request.tools ?? []),
    maxTokens: request.max_completion_tokens ?? request.max_tokens ?? policy.maxTokens,
    n: request.n ?? 1,
    stop: typeof request.stop === 'string' ? [request.stop] : (request.stop ?? []),
    stream: request.stream ?? false,
    includeUsage: request.stream_options?.include_usage ?? false,
  }
}

function forcesTool(choice: unknown): boolean {
  return choice !== undefined && choice !== null && choice !== 'auto' && choice !== 'none'
}
