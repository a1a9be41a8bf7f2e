/** The small interfaces that `judge` is handed, so that it needs neither the engine nor the proxy. */
import type { ChatMessage, ToolDefinition } from './message.ts'
import type { ScorerName } from './task.ts'

/** Compares an answer with its right answer. */
export interface Scorer {
  readonly name: ScorerName
  /** In [0, 1]. */
  score(answer: string, reference: string): number
}

export interface SamplerRequest {
  messages: readonly ChatMessage[]
  tools: readonly ToolDefinition[]
  maxTokens: number | null
}

/** Answers conversations: a serving child for one model, for the evaluation. */
export interface Sampler {
  readonly name: string
  /** How many requests are worth having under way at once. */
  readonly concurrency: number
  answer(request: SamplerRequest, signal?: AbortSignal): Promise<string>
}
