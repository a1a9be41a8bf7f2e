/** What a parent and its serving child tell each other over the process channel; requests go over HTTP. */
import { z } from 'zod'
import { servePolicy } from '../contract/task.ts'

/** A name that the server answers to, and what stands behind it. */
export const servedModel = z.object({
  /** `owned/X@3`, or `base`. */
  name: z.string(),
  /** Folder with an adapter in PEFT's format; null is the base model alone. */
  adapterPath: z.string().nullable(),
  policy: servePolicy,
})
export type ServedModel = z.infer<typeof servedModel>

export const serveCommand = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('start'),
    socketPath: z.string(),
    modelPath: z.string(),
    models: z.array(servedModel),
  }),
  z.object({ type: z.literal('load'), id: z.number(), model: servedModel }),
])
export type ServeCommand = z.infer<typeof serveCommand>

export const serveEvent = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ready') }),
  z.object({ type: z.literal('loaded'), id: z.number() }),
  z.object({ type: z.literal('failed'), id: z.number().nullable(), code: z.string(), message: z.string() }),
])
export type ServeEvent = z.infer<typeof serveEvent>
