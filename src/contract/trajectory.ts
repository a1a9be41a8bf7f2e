/** A root-to-leaf path of a session's calls. Derived from the tree, never stored. */
import { z } from 'zod'
import { chatMessage, toolDefinition } from './message.ts'

/** An assistant turn of the path that Shadow saw being made, rather than one the agent brought along. */
export const trajectoryTurn = z.object({
  /** Index of the assistant message in `messages`. */
  index: z.number().int().nonnegative(),
  call: z.string(),
  promptNode: z.string(),
  replyNode: z.string(),
})
export type TrajectoryTurn = z.infer<typeof trajectoryTurn>

export const trajectory = z.object({
  session: z.string(),
  /** Canonical node of the last reply, hex; with the session it identifies the trajectory. */
  leaf: z.string(),
  messages: z.array(chatMessage),
  tools: z.array(toolDefinition),
  turns: z.array(trajectoryTurn),
})
export type Trajectory = z.infer<typeof trajectory>

/** Replies to the same prompt: siblings under one canonical node. */
export const group = z.object({
  promptNode: z.string(),
  messages: z.array(chatMessage),
  tools: z.array(toolDefinition),
  /** Distinct replies, first captured first. */
  members: z
    .array(z.object({ replyNode: z.string(), message: chatMessage, calls: z.array(z.string()).min(1) }))
    .min(1),
})
export type Group = z.infer<typeof group>
