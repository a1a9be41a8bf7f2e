/**
 * Scores the replies of a group against each other: what they share is shown once, all of them in one call.
 * Scores are read by id and never by position. A reply that leaves ids out, invents some or leaves the range is
 * sent back once; whoever is still missing then is scored by itself.
 */
import type { JudgeClient, JudgeQuestion } from './client.ts'
import type { Judge, JudgeOutcome, JudgeRequest } from './judge.ts'
import { clamp, type ReadScores, readScores } from './parse.ts'
import { corrected, note, scoreOne } from './pointwise.ts'
import { type Labels, labelsOf, material, maxReplies, systemMessage } from './prompt.ts'

/** The same for every group: a provider compiles each new schema, which takes longer than the answer. */
const schema = {
  name: 'scores',
  schema: {
    type: 'object',
    properties: {
      scores: {
        type: 'array',
        items: {
          type: 'object',
          properties: { id: { type: 'string' }, score: { type: 'number' } },
          required: ['id', 'score'],
          additionalProperties: false,
        },
      },
    },
    required: ['scores'],
    additionalProperties: false,
  },
}

export const listwise: Judge = {
  kind: 'listwise',

  prompt(request) {
    const labels = labelsOf(request)
    return messagesFor(request, labels, labels.order.slice(0, maxReplies))
  },

  async score(client, request, signal): Promise<JudgeOutcome> {
    const labels = labelsOf(request)
    const outcome: JudgeOutcome = {
      scores: request.replies.map(() => null),
      shown: labels.order,
      rawReplies: [],
      usage: null,
      calls: 0,
    }
    for (let from = 0; from < labels.order.length; from += maxReplies) {
      await scoreList(client, request, labels, labels.order.slice(from, from + maxReplies), outcome, signal)
    }
    for (const [index, score] of outcome.scores.entries()) {
      outcome.scores[index] = score ?? (await scoreOne(client, request, index, outcome, signal))
      // A judge that declined the list and its first answer too has made up its mind about this conversation.
      if (outcome.scores.every((given) => given === null)) break
    }
    return outcome
  },
}

async function scoreList(
  client: JudgeClient,
  request: JudgeRequest,
  labels: Labels,
  shown: readonly number[],
  outcome: JudgeOutcome,
  signal: AbortSignal | undefined,
): Promise<void> {
  const ids = shown.map((index) => labels.ids[index] ?? '')
  const question: JudgeQuestion = {
    messages: messagesFor(request, labels, shown),
    schema,
    maxTokens: 4096 + 32 * ids.length,
  }
  const first = await client.ask(question, signal)
  note(outcome, first)
  let read = readScores(first.text, ids)
  const complaint = complaintAbout(read, ids)
  if (complaint !== null) {
    const second = await client.ask(corrected(question, first, complaint), signal)
    note(outcome, second)
    const again = readScores(second.text, ids)
    read = { scores: new Map([...read.scores, ...again.scores]), unknown: [] }
  }
  for (const index of shown) {
    const score = read.scores.get(labels.ids[index] ?? '')
    if (score !== undefined) outcome.scores[index] = clamp(score)
  }
}

/** What is wrong with the scores, in words for the judge; null where nothing is. */
function complaintAbout({ scores, unknown }: ReadScores, ids: readonly string[]): string | null {
  const missing = ids.filter((id) => !scores.has(id))
  const outside = [...scores].filter(([, score]) => score !== clamp(score)).map(([id]) => id)
  const wrong: string[] = []
  if (missing.length > 0) wrong.push(`no score could be read for ${missing.join(', ')}`)
  // How many, and not what they were called: an injected name is not worth repeating.
  if (unknown.length > 0) wrong.push(`${unknown.length} of the ids were not in the list`)
  if (outside.length > 0) wrong.push(`the scores of ${outside.join(', ')} are not between 0 and 1`)
  if (wrong.length === 0) return null
  return `That can't be used: ${wrong.join('; ')}. ${instruction(ids)}`
}

function instruction(ids: readonly string[]): string {
  const example = JSON.stringify({ scores: ids.slice(0, 2).map((id) => ({ id, score: 0.5 })) })
  return (
    `Score each of the ${ids.length} answers, by its id: ${ids.join(', ')}.\n` +
    `Reply with JSON only, every id once, in this form: ${example}`
  )
}

function messagesFor(
  request: JudgeRequest,
  labels: Labels,
  shown: readonly number[],
): { role: 'system' | 'user'; content: string }[] {
  const ids = shown.map((index) => labels.ids[index] ?? '')
  return [
    { role: 'system', content: systemMessage(request.rubric).content },
    { role: 'user', content: `${material(request, labels, shown)}\n\n${instruction(ids)}` },
  ]
}
