/** A session as it is shown: its calls, and the tree of messages that they make. */
import { z } from 'zod'
import { callSummary } from './call.ts'
import { chatMessage } from './message.ts'

export const sessionSummary = z.object({
  id: z.string(),
  task: z.string(),
  /** What the agent called it; null where Shadow found the session itself. */
  label: z.string().nullable(),
  /** Milliseconds since the epoch. */
  firstCallAt: z.number(),
  lastCallAt: z.number(),
  calls: z.number().int(),
})
export type SessionSummary = z.infer<typeof sessionSummary>

/** A node of the session's tree: one canonical message under those before it. */
export const sessionNode = z.object({
  /** Canonical node, hex. */
  node: z.string(),
  /** Which of the run's agents the branch belongs to, where the headers say so. */
  agent: z.string().nullable(),
  /** One message, but for items of the Responses API that stand for several. */
  messages: z.array(chatMessage),
  /** Calls whose prompt ends here; several are the same question asked again. */
  asked: z.array(z.string()),
  /** Calls that this was given as a reply to. */
  repliedTo: z.array(
    z.object({ call: z.string(), index: z.number().int(), finishReason: z.string().nullable() }),
  ),
  get children() {
    return z.array(sessionNode)
  },
})
export type SessionNode = z.infer<typeof sessionNode>

export const sessionTree = z.object({
  session: sessionSummary,
  /** In the order of arrival. */
  calls: z.array(
    callSummary.extend({
      /** Why nothing of it may be learnt from; null where it may. */
      untrainable: z.string().nullable(),
    }),
  ),
  /** One for each opening and agent: parallel sub-agents are separate roots. */
  roots: z.array(sessionNode),
})
export type SessionTree = z.infer<typeof sessionTree>
