/** Scores one answer by itself. For the only reply to a prompt, and for one that a listwise call left out. */
import type { Usage } from '../../src/contract/index.ts'
import type { JudgeAnswer, JudgeClient, JudgeMessage, JudgeQuestion } from './client.ts'
import type { Judge, JudgeOutcome, JudgeRequest } from './judge.ts'
import { clamp, readScore } from './parse.ts'
import { labelsOf, material, systemMessage } from './prompt.ts'

const schema = {
  name: 'score',
  schema: {
    type: 'object',
    properties: { score: { type: 'number' } },
    required: ['score'],
    additionalProperties: false,
  },
}

/** One readable number is wanted; the rest leaves a thinking judge its room. */
const maxTokens = 4096

export const pointwise: Judge = {
  kind: 'pointwise',

  prompt: (request) => messagesFor(request, 0),

  async score(client, request, signal): Promise<JudgeOutcome> {
    const outcome: JudgeOutcome = { scores: [], shown: [], rawReplies: [], usage: null, calls: 0 }
    for (const index of request.replies.keys()) {
      outcome.shown.push(index)
      outcome.scores.push(await scoreOne(client, request, index, outcome, signal))
    }
    return outcome
  },
}

/** Asks, and once more where the answer is no number from 0 to 1. */
export async function scoreOne(
  client: JudgeClient,
  request: JudgeRequest,
  index: number,
  ledger: Pick<JudgeOutcome, 'rawReplies' | 'usage' | 'calls'>,
  signal?: AbortSignal,
): Promise<number | null> {
  const question: JudgeQuestion = { messages: messagesFor(request, index), schema, maxTokens }
  const first = await client.ask(question, signal)
  note(ledger, first)
  const score = readScore(first.text)
  if (score !== null && score === clamp(score)) return score
  const second = await client.ask(
    corrected(question, first, 'Answer with JSON only, a number from 0 to 1: {"score": 0.5}'),
    signal,
  )
  note(ledger, second)
  const again = readScore(second.text) ?? score
  return again === null ? null : clamp(again)
}

/** The same question, with what was answered and what was wrong with it. */
export function corrected(question: JudgeQuestion, answer: JudgeAnswer, complaint: string): JudgeQuestion {
  const messages: JudgeMessage[] = [
    ...question.messages,
    { role: 'assistant', content: answer.text },
    { role: 'user', content: complaint },
  ]
  return { ...question, messages }
}

/** Adds an answer to what a verdict keeps of its calls. */
export function note(
  ledger: Pick<JudgeOutcome, 'rawReplies' | 'usage' | 'calls'>,
  { text, usage }: JudgeAnswer,
): void {
  ledger.rawReplies.push(text)
  ledger.calls += 1
  if (usage !== null) ledger.usage = addUsage(ledger.usage, usage)
}

function addUsage(left: Usage | null, right: Usage): Usage {
  return {
    prompt_tokens: (left?.prompt_tokens ?? 0) + right.prompt_tokens,
    completion_tokens: (left?.completion_tokens ?? 0) + right.completion_tokens,
    total_tokens: (left?.total_tokens ?? 0) + right.total_tokens,
  }
}

function messagesFor(request: JudgeRequest, index: number): { role: 'system' | 'user'; content: string }[] {
  const ask = 'Score the answer. Reply with JSON only: {"score": <number from 0 to 1>}'
  return [
    { role: 'system', content: systemMessage(request.rubric).content },
    { role: 'user', content: `${material(request, labelsOf(request), [index])}\n\n${ask}` },
  ]
}
