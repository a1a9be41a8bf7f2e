/**
 * A call as a line of JSONL: OpenAI's own `messages` and `tools`, as fine-tuning takes them, and beside them under
 * `shadow` what else is known of the call, so that it can be imported again.
 */
import { z } from 'zod'
import {
  type CapturedCall,
  callStatus,
  callTimings,
  chatMessage,
  redactedCounts,
  toolDefinition,
  usage,
} from '../../contract/index.ts'

const about = z.object({
  id: z.string().min(1),
  task: z.string(),
  session: z.string(),
  label: z.string().nullable(),
  parent: z.string().nullable(),
  continues: z.string().nullable(),
  agent: z.string().nullable(),
  parentAgent: z.string().nullable(),
  startedAt: z.number().int(),
  status: callStatus,
  httpStatus: z.number().int().nullable(),
  stream: z.boolean(),
  modelAsked: z.string(),
  modelAnswered: z.string().nullable(),
  servedBy: z.string(),
  fallbackFrom: z.string().nullable(),
  usage: usage.nullable(),
  timings: callTimings,
  error: z.string().nullable(),
  redacted: redactedCounts.nullable(),
  /** Of each choice; the first one's message is the last of `messages`. */
  replies: z.array(
    z.object({
      index: z.number().int(),
      finishReason: z.string().nullable(),
      message: chatMessage.optional(),
    }),
  ),
})

export const callLine = z.object({
  messages: z.array(chatMessage),
  tools: z.array(toolDefinition).optional(),
  /** Absent in files of other tools. */
  shadow: about.optional(),
})
export type CallLine = z.infer<typeof callLine>

export function lineOf(call: CapturedCall): CallLine {
  const [first] = call.replies
  return {
    messages: first === undefined ? call.messages : [...call.messages, first.message],
    ...(call.tools.length === 0 ? {} : { tools: call.tools }),
    shadow: {
      id: call.id,
      task: call.task,
      session: call.session,
      label: call.label ?? null,
      parent: call.parent,
      continues: call.continues ?? null,
      agent: call.agent ?? null,
      parentAgent: call.parentAgent ?? null,
      startedAt: call.startedAt,
      status: call.status,
      httpStatus: call.httpStatus,
      stream: call.stream,
      modelAsked: call.modelAsked,
      modelAnswered: call.modelAnswered,
      servedBy: call.servedBy,
      fallbackFrom: call.fallbackFrom,
      usage: call.usage,
      timings: call.timings,
      error: call.error,
      redacted: call.redacted ?? null,
      replies: call.replies.map(({ index, finishReason, message }, place) => ({
        index,
        finishReason,
        ...(place === 0 ? {} : { message }),
      })),
    },
  }
}
