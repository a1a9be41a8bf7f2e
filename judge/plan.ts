/** What judging one group will take, known before anybody is asked: the verdict's id, the judge and its request. */
import { createHmac } from 'node:crypto'
import type { Group, TaskConfig } from '../src/contract/index.ts'
import { normaliseEndpoint } from './endpoint.ts'
import type { Judge, JudgeRequest } from './judges/judge.ts'
import { promptVersion } from './judges/prompt.ts'
import { judgeFor } from './judges/registry.ts'
import { renderMessage, renderTools } from './render.ts'

/** `Verdict.judge` where nobody judged: every reply was kept with score 1. */
export const noJudge = 'none'

export interface Plan {
  /** The verdict's id. */
  id: string
  /** Null: no judge is set, and the scorer or nobody decides. */
  judge: Judge | null
  judgeName: string
  request: JudgeRequest
  /** Reply nodes by the index of their text in `request.replies`: what reads the same is scored once. */
  nodes: string[][]
}

export interface PlanInput {
  config: Pick<TaskConfig, 'rubric' | 'judge' | 'scorer'>
  secret: Uint8Array
  references?: (group: Group) => string | null
  repeat?: number
}

export function planOf({ config, secret, references, repeat = 0 }: PlanInput, group: Group): Plan {
  const byText = Map.groupBy(group.members, ({ message }) => renderMessage(message))
  // Sorted, so that the order of capture changes neither the id nor the labels.
  const replies = [...byText.keys()].toSorted()
  const nodes = replies.map((text) => (byText.get(text) ?? []).map((member) => member.replyNode).toSorted())
  const reference = references?.(group) ?? null
  const judge = config.judge === null ? null : judgeFor(replies.length)
  const judgeName = config.judge?.model ?? (reference === null ? noJudge : `reference:${config.scorer}`)
  const scoredBy =
    config.judge === null ? [judgeName] : [normaliseEndpoint(config.judge), judge?.kind, config.rubric]
  const conversation = group.messages.map((message) => [message.role, renderMessage(message)])
  const tools = renderTools(group.tools)
  const content = [
    promptVersion,
    group.promptNode,
    conversation,
    tools,
    replies,
    nodes,
    reference,
    scoredBy,
    repeat,
  ]
  const id = keyed(secret, `verdict ${JSON.stringify(content)}`).toString('hex')
  const { rubric } = config
  const { messages, tools: declared } = group
  const key = keyed(secret, `labels ${id}`)
  return {
    id,
    judge,
    judgeName,
    request: { rubric, messages, tools: declared, replies, reference, key },
    nodes,
  }
}

function keyed(secret: Uint8Array, text: string): Buffer {
  return createHmac('sha256', secret).update(text).digest()
}
