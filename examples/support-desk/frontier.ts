/**
 * A stand-in for a frontier model: it answers support requests from the rule book and is wrong in a known
 * share of its answers. `node examples/support-desk/frontier.ts --port 0 --seed 1`
 */
import { parseArgs } from 'node:util'
import { CannotAnswer, type ChatServerOptions, runChatServer, type Said } from './chat-server.ts'
import { conversationKey, frontierAnswer } from './faults.ts'
import { createRuleBook } from './rule-book.ts'

/** One answer that was given, as `GET /stand-in/answers` lists it. */
export interface GivenAnswer {
  readonly conversation: readonly Said[]
  readonly attempt: number
  readonly answer: string
  readonly right: string
}

export function frontierOptions({ port, seed }: { port: number; seed: number }): ChatServerOptions {
  const book = createRuleBook()
  const attempts = new Map<string, number>()
  const given: GivenAnswer[] = []
  return {
    model: 'stand-in-frontier',
    what: 'Stand-in frontier (a rule book, not a model; wrong on purpose in 15 % of its answers)',
    port,
    answer(conversation) {
      if (!conversation.some(({ role }) => role === 'user')) {
        throw new CannotAnswer('The conversation has no user message.')
      }
      const key = conversationKey(conversation)
      const attempt = attempts.get(key) ?? 0
      attempts.set(key, attempt + 1)
      const { answer, right } = frontierAnswer(book, seed, conversation, attempt)
      given.push({ conversation, attempt, answer, right })
      return answer
    },
    extend(app) {
      app.get('/stand-in/answers', (context) => context.json({ answers: given }))
    },
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { port: { type: 'string', default: '0' }, seed: { type: 'string', default: '1' } },
  })
  await runChatServer(frontierOptions({ port: Number(values.port), seed: Number(values.seed) }))
}
