/**
 * A call as the journal holds it: what was said, and who said it. What that means, its place in the tree and the names
 * of its nodes, is found by whoever brings it into the tables, so that an agent never waits for it. Layout: length of the
 * facts (u32, little endian), the facts as JSON, the request's body, the reply's.
 */
import { z } from 'zod'
import { callStatus, callTimings, redactedCounts, usage } from '../../contract/index.ts'
import type { Slice } from '../../lib/json-slices.ts'
import type { CallerNames } from './caller-names.ts'
import type { CallRecord } from './record.ts'

/** Start and end of bytes. */
export const slice = z.tuple([z.number(), z.number()])

/** What is left out is null, false or empty. */
const facts = z.object({
  /** Tells it from entries of versions before, which have none. */
  version: z.literal(2),
  id: z.string(),
  startedAt: z.number(),
  status: callStatus,
  httpStatus: z.number().nullable(),
  stream: z.boolean(),
  modelAsked: z.string(),
  servedBy: z.string(),
  fallbackFrom: z.string().nullish(),
  timings: callTimings,
  error: z.string().nullish(),
  redacted: redactedCounts.nullish(),
  answer: z.object({ model: z.string().nullable(), usage: usage.nullable() }).nullish(),
  dialect: z.string(),
  task: z.string(),
  /** Hex; '' for an anonymous caller. */
  keyHash: z.hex(),
  /** The session that the agent's name for it stands for, and what is kept of the name. */
  namedSession: z.string().nullish(),
  label: z.string().nullish(),
  agent: z.string().nullish(),
  parentAgent: z.string().nullish(),
  goesOnFrom: z.union([z.object({ reply: z.string() }), z.object({ session: z.string() })]).nullish(),
  known: z
    .object({
      session: z.string(),
      edges: z.object({ parent: z.string().nullable(), continues: z.string().nullable() }).optional(),
    })
    .nullish(),
  messages: z.array(slice),
  tools: slice.nullish(),
  others: z.array(slice),
  requestBytes: z.number(),
  hasReply: z.boolean(),
})
type Facts = z.infer<typeof facts>

export interface JournalEntry extends Facts {
  readonly request: Buffer
  readonly reply: Buffer | null
}

/** Bytes from which a field's value is stored apart, so that requests that differ elsewhere share it. */
export const largeValueBytes = 512

/** The entry in pieces, to be written one after the other. */
export function encodeEntry(names: CallerNames, call: CallRecord): Uint8Array[] {
  const { origin, request, reply } = call
  const { task, sessionName, goesOnFrom = null } = origin
  const keyHash = names.keyHash(origin.credential)
  const sessionOf = (name: string) => names.sessionNamed(task, keyHash, name)
  const known: Facts = {
    version: 2,
    id: call.id,
    startedAt: call.startedAt,
    status: call.status,
    httpStatus: call.httpStatus,
    stream: call.stream,
    modelAsked: call.modelAsked,
    servedBy: call.servedBy,
    fallbackFrom: call.fallbackFrom ?? undefined,
    timings: call.timings,
    error: call.error ?? undefined,
    redacted: call.redacted ?? undefined,
    answer: call.answer ?? undefined,
    dialect: call.dialect,
    task,
    keyHash: keyHash.toString('hex'),
    namedSession: sessionName === null ? undefined : sessionOf(sessionName),
    label: origin.label ?? sessionName ?? undefined,
    agent: origin.agent ?? undefined,
    parentAgent: origin.parentAgent ?? undefined,
    goesOnFrom:
      goesOnFrom === null
        ? undefined
        : 'reply' in goesOnFrom
          ? goesOnFrom
          : { session: sessionOf(goesOnFrom.conversation) },
    known: origin.known ?? undefined,
    messages: request.messages.map(pair),
    tools: request.tools === null ? undefined : pair(request.tools),
    others: request.others.filter(({ start, end }) => end - start >= largeValueBytes).map(pair),
    requestBytes: request.body.length,
    hasReply: reply !== null,
  }
  const json = Buffer.from(JSON.stringify(known))
  const length = Buffer.allocUnsafe(4)
  length.writeUInt32LE(json.length)
  return reply === null ? [length, json, request.body] : [length, json, request.body, reply]
}

/** The facts of an entry of any version, and where its bytes begin. */
export function factsOf(bytes: Buffer): { facts: unknown; end: number } {
  const end = 4 + bytes.readUInt32LE(0)
  return { facts: JSON.parse(bytes.toString('utf8', 4, end)), end }
}

/** Null for an entry of a version before. @throws when the bytes are no entry */
export function decodeEntry(bytes: Buffer): JournalEntry | null {
  const { facts: found, end } = factsOf(bytes)
  if (typeof found !== 'object' || found === null || !('version' in found)) return null
  const known = facts.parse(found)
  const requestEnd = end + known.requestBytes
  return {
    ...known,
    request: bytes.subarray(end, requestEnd),
    reply: known.hasReply ? bytes.subarray(requestEnd) : null,
  }
}

function pair({ start, end }: Slice): [number, number] {
  return [start, end]
}
