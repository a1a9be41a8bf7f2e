/** One request to the proxy and what came of it. */
import { z } from 'zod'
import { type ChatMessage, chatMessage, toolDefinition } from './message.ts'
import { redactedCounts } from './redaction.ts'

/**
 * `refused` is the proxy in strict mode declining a call it could not record; a model's own refusal and
 * `finish_reason: length` are complete calls, but never training targets.
 */
export const callStatus = z.enum(['complete', 'truncated', 'aborted', 'upstream_error', 'refused'])
export type CallStatus = z.infer<typeof callStatus>

export const usage = z.object({
  prompt_tokens: z.number().int().nonnegative(),
  completion_tokens: z.number().int().nonnegative(),
  total_tokens: z.number().int().nonnegative(),
})
export type Usage = z.infer<typeof usage>

/** Milliseconds from the request's arrival. */
export const callTimings = z.object({
  firstByteMs: z.number().nullable(),
  totalMs: z.number(),
})
export type CallTimings = z.infer<typeof callTimings>

/** One choice of a reply (`n > 1` gives several). */
export const callReply = z.object({
  index: z.number().int().nonnegative(),
  /** Canonical node of the reply under the call's prompt, hex. */
  node: z.string(),
  finishReason: z.string().nullable(),
  message: chatMessage,
})
export type CallReply = z.infer<typeof callReply>

/** A call with its conversation read back from the tree. */
export const capturedCall = z.object({
  id: z.string(),
  task: z.string(),
  session: z.string(),
  /** What the agent called the session; null where Shadow found it itself. */
  label: z.string().nullish(),
  /** The call whose reply this one's prompt goes on from; null where a branch starts. */
  parent: z.string().nullable(),
  /** Canonical node of that reply, hex; null where there is no parent. */
  parentNode: z.string().nullable(),
  /**
   * The call of the session that this one goes on from with a history that the agent rewrote (compacted, elided);
   * null where the prompt holds the history as it was.
   */
  continues: z.string().nullish(),
  /** Which of the run's agents called, and which one started it, where the headers say so. */
  agent: z.string().nullish(),
  parentAgent: z.string().nullish(),
  dialect: z.string(),
  startedAt: z.number(),
  status: callStatus,
  httpStatus: z.number().int().nullable(),
  stream: z.boolean(),
  modelAsked: z.string(),
  modelAnswered: z.string().nullable(),
  servedBy: z.string(),
  /** The owned version that was asked first and failed before its first byte; null where none did. */
  fallbackFrom: z.string().nullable(),
  usage: usage.nullable(),
  timings: callTimings,
  error: z.string().nullable(),
  /** What was taken out before it was written; null where it is as it came. */
  redacted: redactedCounts.nullish(),
  /** Canonical node of the prompt, hex: equal for equal conversations, whatever the session. */
  promptNode: z.string(),
  messages: z.array(chatMessage),
  tools: z.array(toolDefinition),
  replies: z.array(callReply),
})
export type CapturedCall = z.infer<typeof capturedCall>

/** A call as a list shows it: no conversation is read for it. */
export const callSummary = capturedCall.omit({ messages: true, tools: true, replies: true })
export type CallSummary = z.infer<typeof callSummary>

/** Reasons for a reply's end after which it is no target: it was cut short, withheld, or isn't there yet. */
const unfinished = new Set(['length', 'content_filter', 'queued', 'in_progress', 'failed', 'cancelled'])

/** Why a reply may not be learnt from, or null when it may. */
export function untrainableReason(
  call: Pick<CapturedCall, 'status' | 'messages'>,
  reply: CallReply,
): string | null {
  if (call.status !== 'complete') return call.status
  if (reply.finishReason !== null && unfinished.has(reply.finishReason)) return reply.finishReason
  if (typeof reply.message.refusal === 'string' && reply.message.refusal !== '') return 'refusal'
  const media = [...call.messages, reply.message].find((message) => mediaIn(message) !== null)
  return media === undefined ? null : 'media'
}

/** The kind of the first part that is no text: images, audio, files and the like are kept but not trainable yet. */
function mediaIn({ content, audio }: ChatMessage): string | null {
  if (audio !== undefined && audio !== null) return 'audio'
  if (!Array.isArray(content)) return null
  return content.find(({ type, text }) => type !== 'text' && typeof text !== 'string')?.type ?? null
}
