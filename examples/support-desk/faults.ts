/**
 * How the stand-ins are wrong, on purpose and by seed. Both decisions are functions of content, so that
 * they do not depend on who asked first or how many asked at once.
 */
import type { Said } from './chat-server.ts'
import { actionLine, confusedAction } from './outcomes.ts'
import { hashUnit } from './random.ts'
import type { RuleBook } from './rule-book.ts'

/** Share of the frontier's answers that are those of the outcome it confuses with the right one. */
export const frontierErrorRate = 0.15

/** Share of the judge's judgements that are upside down. */
export const judgeErrorRate = 0.05

export interface FrontierAnswer {
  readonly answer: string
  readonly right: string
}

export function userTurnsOf(conversation: readonly Said[]): string[] {
  return conversation.filter(({ role }) => role === 'user').map(({ text }) => text)
}

/** The same text for the same conversation. */
export function conversationKey(conversation: readonly Said[]): string {
  return JSON.stringify(conversation.map(({ role, text }) => [role, text]))
}

/** `attempt` counts from 0 how often this very conversation was asked before, so that asking again may help. */
export function frontierAnswer(
  book: RuleBook,
  seed: number,
  conversation: readonly Said[],
  attempt: number,
): FrontierAnswer {
  const action = book.decide(userTurnsOf(conversation))
  const right = actionLine(action)
  const isWrong = hashUnit(seed, 'frontier', conversationKey(conversation), attempt) < frontierErrorRate
  return { right, answer: isWrong ? actionLine(confusedAction(action)) : right }
}

/** Whether the judge holds this answer for right. */
export function judgeApproves(
  book: RuleBook,
  seed: number,
  userTurns: readonly string[],
  answer: string,
): boolean {
  const isRight = book.answer(userTurns) === answer.trim()
  const errs = hashUnit(seed, 'judge', JSON.stringify(userTurns), answer.trim()) < judgeErrorRate
  return isRight !== errs
}
