/** How a task is answered now, and every change of it with its reason. */
import { z } from 'zod'
import { taskName } from './task.ts'

export const routeState = z.enum(['frontier', 'owned'])
export type RouteState = z.infer<typeof routeState>

/** `owned/X@3` */
export const versionName = z.string().regex(/^owned\/[a-z0-9][a-z0-9._-]{0,63}@[1-9][0-9]*$/)

export const route = z.object({
  task: taskName,
  state: routeState,
  /** The version that answers in state `owned`; null in state `frontier`. */
  version: versionName.nullable(),
  reason: z.string(),
  changedAt: z.number(),
})
export type Route = z.infer<typeof route>

/** What the router asks on every call; answers from memory. */
export interface RouteSource {
  routeOf(task: string): Pick<Route, 'state' | 'version'>
  /** Versions the owned server can answer for, newest first, as `/v1/models` lists them. */
  versions(): readonly string[]
}

export function formatVersion(task: string, number: number): string {
  return `owned/${task}@${number}`
}
