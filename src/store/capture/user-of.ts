/** Whom a request says that it is for. */
import { z } from 'zod'
import { fillIn, type Layout } from './layout.ts'

const named = z.looseObject({
  user: z.unknown().optional(),
  safety_identifier: z.unknown().optional(),
  metadata: z.looseObject({ user_id: z.unknown().optional() }).nullish().catch(null),
})

/** @param body a request as JSON */
export function usersIn(body: string): string[] {
  let value: unknown
  try {
    value = JSON.parse(body.replace(/^\ufeff/, ''))
  } catch {
    return []
  }
  const request = named.safeParse(value)
  if (!request.success) return []
  const { user, safety_identifier: safety, metadata } = request.data
  return [user, safety, metadata?.user_id].filter((name) => typeof name === 'string')
}

/**
 * The same for an envelope: a conversation is not needed to know whose it is.
 * @param bytesOf the bytes of a large value
 */
export function usersInEnvelope(layout: Layout, bytesOf: (hash: string) => Uint8Array): string[] {
  const literal = Buffer.from(layout.literal)
  const body = fillIn(layout, (hole) => {
    if (hole.kind === 'part') return bytesOf(hole.hash)
    // Elements of a list and values may be null; what stands between other members is one with its name.
    const before = literal.toString('latin1', 0, hole.at).trimEnd().at(-1)
    return Buffer.from(before === '[' || before === ':' ? 'null' : '"":null')
  })
  return usersIn(body.toString('utf8'))
}
