/** A call with its place in the tree and the names of its nodes: what the tables take. */
import { z } from 'zod'
import { callStatus, callTimings, redactedCounts, usage } from '../../contract/index.ts'
import { hashBytes } from '../../lib/hash.ts'
import { decodeEntry, factsOf, type JournalEntry, slice } from './journal-entry.ts'

const facts = z.object({
  id: z.string(),
  startedAt: z.number(),
  status: callStatus,
  httpStatus: z.number().nullable(),
  stream: z.boolean(),
  modelAsked: z.string(),
  modelAnswered: z.string().nullable(),
  servedBy: z.string(),
  fallbackFrom: z.string().nullable(),
  usage: usage.nullable(),
  timings: callTimings,
  error: z.string().nullable(),
  redacted: redactedCounts.nullish(),
  dialect: z.string(),
  task: z.string(),
  /** Hex; '' for an anonymous caller. */
  keyHash: z.hex(),
  session: z.string(),
  label: z.string().nullable(),
  parent: z.object({ call: z.string(), node: z.hex() }).nullable(),
  /** How many of the leading messages are the canonical root's. */
  rootMessages: z.number(),
  messages: z.array(slice),
  /** Whether the messages go on from an earlier reply, whose node stands in the root's place. */
  goesOn: z.boolean().optional(),
  /** By what a later request may name the reply. */
  replyId: z.string().nullish(),
  /** The call whose conversation this one goes on from with a history that was rewritten. */
  continues: z.string().nullish(),
  /** Which of the run's agents called, and which one started it, where the headers say so. */
  agent: z.string().nullish(),
  parentAgent: z.string().nullish(),
  tools: slice.nullable(),
  /** Values of other fields that are stored apart. */
  large: z.array(slice),
  replies: z.array(z.object({ index: z.number(), slice, finishReason: z.string().nullable() })).nullable(),
  /** Names of what the replies say, hex; see `SessionTails`. */
  said: z.array(z.string()).optional(),
})

export interface PlacedCall extends z.infer<typeof facts> {
  /** One hash for the root and one for each prefix. */
  readonly rawPath: Buffer
  readonly canonicalPath: Buffer
  /** For each reply: its raw node, its canonical node. */
  readonly replyHashes: Buffer
  readonly request: Buffer
  readonly reply: Buffer
}

const hashesPerReply = 2

/**
 * From a journal of the version before, whose entries held their hashes: after the facts those of the prompt's paths and of
 * the replies, then the request's body and the reply's.
 * @throws when the bytes are no such entry
 */
function decodePlaced(bytes: Buffer): PlacedCall {
  const { facts: found, end } = factsOf(bytes)
  const { requestBytes, ...known } = facts.extend({ requestBytes: z.number() }).parse(found)
  let at = end
  const take = (length: number) => {
    at += length
    return bytes.subarray(at - length, at)
  }
  const path = (known.messages.length + 1) * hashBytes
  return {
    ...known,
    rawPath: take(path),
    canonicalPath: take(path),
    replyHashes: take((known.replies?.length ?? 0) * hashesPerReply * hashBytes),
    request: take(requestBytes),
    reply: bytes.subarray(at),
  }
}

/** An entry of any version. @throws when the bytes are none */
export function anyEntry(bytes: Buffer): JournalEntry | PlacedCall {
  return decodeEntry(bytes) ?? decodePlaced(bytes)
}
