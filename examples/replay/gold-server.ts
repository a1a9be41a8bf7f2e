/** A stand-in frontier that knows the right answers of a file of chats, and nothing else. */
import { textOf } from '../../src/contract/index.ts'
import { CannotAnswer, type ChatServer, startChatServer } from '../support-desk/chat-server.ts'
import { type Chat, promptKey } from './chats.ts'

/** @returns once it listens. @throws what node:net throws, when the port is taken */
export function startGoldServer(chats: readonly Chat[], port: number): Promise<ChatServer> {
  const answers = new Map(
    chats.map(({ prompt, gold }) => [
      promptKey(prompt.map((message) => ({ role: message.role, text: textOf(message) }))),
      gold,
    ]),
  )
  return startChatServer({
    model: 'gold-answers',
    what: 'Stand-in frontier (a file of right answers, not a model)',
    port,
    answer(conversation) {
      const gold = answers.get(promptKey(conversation))
      if (gold === undefined)
        throw new CannotAnswer('This conversation is not in the file that is being replayed.')
      return gold
    },
  })
}
