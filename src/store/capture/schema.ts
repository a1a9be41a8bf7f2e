/**
 * Tables of capture.db. A message's bytes lie in `parts`, once; nodes hold hashes and pointers. A raw node is
 * a message as it came, under the one before it, and the raw root holds the tools; a canonical node is what
 * raw nodes of equal meaning share.
 */
import type { Generated } from 'kysely'
import type { CallStatus } from '../../contract/index.ts'

export interface CaptureSchema {
  parts: {
    id: Generated<number>
    /** Of all of its bytes. */
    hash: Buffer
    /** Without its blobs, where `holes` says that it has some. */
    bytes: Buffer
    holes: string | null
  }
  part_blobs: { part: number; blob: number }
  nodes: { id: Generated<number>; hash: Buffer; parent: number | null; depth: number }
  raw_nodes: {
    id: Generated<number>
    hash: Buffer
    parent: number | null
    /** Null in the root of a conversation without tools. */
    part: number | null
    node: number
    /** Messages up to here. */
    depth: number
  }
  /** What is left of a request when messages, tools and large values are taken out. */
  envelopes: { id: Generated<number>; hash: Buffer; literal: Buffer; holes: string }
  envelope_parts: { envelope: number; part: number }
  /** One row for each key and task that calls came with. */
  scopes: { id: Generated<number>; task: string; key_hash: Buffer }
  sessions: {
    seq: Generated<number>
    id: string
    scope: number
    task: string
    label: string | null
    /** See `record-checksum.ts`; null in rows that are older than it. */
    checksum: Buffer | null
  }
  calls: {
    seq: Generated<number>
    id: string
    task: string
    scope: number
    session: number
    parent: number | null
    /** The reply of `parent` that the prompt goes on from. */
    parent_node: number | null
    dialect: string
    started_at: number
    status: CallStatus
    http_status: number | null
    stream: number
    model_asked: string
    model_answered: string | null
    served_by: string
    fallback_from: string | null
    prompt_tokens: number | null
    completion_tokens: number | null
    total_tokens: number | null
    first_byte_ms: number | null
    total_ms: number
    error: string | null
    raw_node: number
    node: number
    envelope: number
    /** By what a later request may name the reply. */
    reply_id: string | null
    /** Row of the call that this one goes on from with a history that was rewritten. */
    continues: number | null
    agent: string | null
    parent_agent: string | null
    /** What was taken out before it was written, as JSON; null where it is as it came. */
    redacted: string | null
    /** See `record-checksum.ts`; null in rows that are older than it. */
    checksum: Buffer | null
  }
  call_replies: {
    call: number
    /** Where the choice stands in the reply. */
    place: number
    choice: number
    raw_node: number
    node: number
    finish_reason: string | null
    scope: number
    session: number
    /** Names what it says, wherever it stands; null in rows that are older than that. */
    said: Buffer | null
  }
  /** What is left of a reply when its messages are taken out; the whole body where it holds none. */
  reply_bodies: { call: number; literal: Buffer; holes: string }
}
