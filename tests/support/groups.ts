/** Groups for tests of the judge, made from texts. */
import type { ChatMessage, Group } from '../../src/contract/index.ts'

/** A group whose prompt is one user message; nodes are named after their texts. */
export function groupOf(input: string, replies: readonly (string | ChatMessage)[]): Group {
  return {
    promptNode: `prompt ${input}`,
    messages: [
      { role: 'system', content: 'You answer sums.' },
      { role: 'user', content: input },
    ],
    tools: [],
    members: replies.map((reply, index) => ({
      replyNode: `${input} reply ${index}`,
      message: typeof reply === 'string' ? { role: 'assistant', content: reply } : reply,
      calls: [`${input} call ${index}`],
    })),
  }
}
