/**
 * A call as the journal holds it: everything the tables need, with all hashes made, so that whoever brings it
 * into the tables, now or after a crash, needs no dialect. Layout: length of the facts (u32, little endian),
 * the facts as JSON, then the hashes, the request's body and the reply's.
 */
import { z } from 'zod'
import { callStatus, callTimings, redactedCounts, usage } from '../../contract/index.ts'
import { hashBytes, type KeyedHash } from '../../lib/hash.ts'
import type { Slice } from '../../lib/json-slices.ts'
import { canonicalHash, hashAt, rawHash, saidHash } from './prompt.ts'
import type { CallRecord } from './record.ts'

/** Bytes from which a field's value is stored apart, so that requests that differ elsewhere share it. */
const largeValueBytes = 512

const slice = z.tuple([z.number(), z.number()])

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
  large: z.array(slice),
  replies: z.array(z.object({ index: z.number(), slice, finishReason: z.string().nullable() })).nullable(),
  /** Names of what the replies say, hex; see `SessionTails`. */
  said: z.array(z.string()).optional(),
  requestBytes: z.number(),
})
type Facts = z.infer<typeof facts>

export interface CallEntry extends Facts {
  /** One hash for the root and one for each prefix. */
  readonly rawPath: Buffer
  readonly canonicalPath: Buffer
  /** For each reply: its raw node, its canonical node. */
  readonly replyHashes: Buffer
  readonly request: Buffer
  readonly reply: Buffer
}

const hashesPerReply = 2

/** The nodes of one reply, by their hashes. */
export interface ReplyNodes {
  readonly raw: Buffer
  readonly node: Buffer
  /** Names what it says, wherever it stands; null in sessions that nobody named, where it is never looked for. */
  readonly said: Buffer | null
}

/** The entry in pieces, to be written one after the other. */
export function encodeEntry(
  hash: KeyedHash,
  call: CallRecord,
): { pieces: Uint8Array[]; replies: ReplyNodes[] } {
  const { placement, prompt, request, reply } = call
  const { messages, dialect } = prompt
  const depth = messages.length
  const replies: ReplyNodes[] = []
  const replyHashes: Buffer[] = []
  for (const { message } of reply?.choices ?? []) {
    const node = canonicalHash(hash, hashAt(prompt.canonicalPath, depth), message)
    const raw = rawHash(hash, hashAt(prompt.rawPath, depth), message.bytes)
    const said = placement.label === null ? null : saidHash(hash, message.canonicalText)
    replies.push({ raw, node, said })
    replyHashes.push(raw, node)
  }
  const { parent } = placement
  const text: Facts = {
    id: call.id,
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
    redacted: call.redacted,
    replyId: call.replyId,
    dialect,
    task: placement.task,
    keyHash: placement.keyHash.toString('hex'),
    session: placement.session,
    label: placement.label,
    parent: parent === null ? null : { call: parent.call, node: parent.node.toString('hex') },
    rootMessages: rootMessages(messages),
    goesOn: prompt.goesOn ? true : undefined,
    continues: placement.continues,
    agent: placement.agent,
    parentAgent: placement.parentAgent,
    messages: request.messages.map(pair),
    tools: request.tools === null ? null : pair(request.tools),
    large: request.others.filter(({ start, end }) => end - start >= largeValueBytes).map(pair),
    replies:
      reply?.choices.map(({ index, slice, finishReason }) => ({ index, slice: pair(slice), finishReason })) ??
      null,
    said: replies.flatMap(({ said }) => said?.toString('hex') ?? []),
    requestBytes: request.body.length,
  }
  const json = Buffer.from(JSON.stringify(text))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(json.length)
  const hashes = [prompt.rawPath, prompt.canonicalPath, ...replyHashes]
  return {
    pieces: [length, json, ...hashes, request.body, ...(reply === null ? [] : [reply.body])],
    replies,
  }
}

/** @throws when the bytes are no entry of this version */
export function decodeEntry(bytes: Buffer): CallEntry {
  const start = 4 + bytes.readUInt32LE(0)
  const known = facts.parse(JSON.parse(bytes.toString('utf8', 4, start)))
  let at = start
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
    request: take(known.requestBytes),
    reply: bytes.subarray(at),
  }
}

function rootMessages(messages: readonly { isRoot: boolean }[]): number {
  const first = messages.findIndex(({ isRoot }) => !isRoot)
  return first === -1 ? messages.length : first
}

function pair({ start, end }: Slice): [number, number] {
  return [start, end]
}
