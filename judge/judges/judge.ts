/** What every judge is: something that scores the replies of one group. */
import type { ChatMessage, ToolDefinition, Usage } from '../../src/contract/index.ts'
import type { JudgeClient } from './client.ts'

export interface JudgeRequest {
  rubric: string
  messages: readonly ChatMessage[]
  tools: readonly ToolDefinition[]
  /** Distinct replies as text; a score is told by its place in this list. */
  replies: readonly string[]
  /** The right answer, where one is known. */
  reference: string | null
  /** 32 bytes that nobody outside can know, from which ids, order and fence are made. */
  key: Uint8Array
}

export interface JudgeOutcome {
  /** In [0, 1], or null where no readable score was given; in the order of `replies`. */
  scores: (number | null)[]
  /** Indices into `replies` in the order in which the judge saw them. */
  shown: number[]
  /** The judge's own words, in the order of its calls. */
  rawReplies: string[]
  /** Summed over the calls; null when the endpoint reported none. */
  usage: Usage | null
  calls: number
}

export interface Judge {
  readonly kind: 'listwise' | 'pointwise'
  /** @throws ShadowError judge_failed when the endpoint can't be reached or declines */
  score(client: JudgeClient, request: JudgeRequest, signal?: AbortSignal): Promise<JudgeOutcome>
  /** The messages of the first call, so that its size can be told beforehand. */
  prompt(request: JudgeRequest): { role: 'system' | 'user'; content: string }[]
}
