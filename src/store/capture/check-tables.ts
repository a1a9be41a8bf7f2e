/** Compares everything in capture.db with the hash that names it. */
import type SqliteDatabase from 'better-sqlite3'
import type { StoreCheck } from '../../contract/index.ts'
import { messageOf } from '../../lib/error.ts'
import type { KeyedHash } from '../../lib/hash.ts'
import { checkOf, type Findings } from '../check-file.ts'
import { PartReader } from './blobs.ts'
import { readHoles } from './layout.ts'
import { envelopeHash, partHash, rawHash, rawRoot } from './prompt.ts'
import { sessionChecksum, StoredChecksums } from './record-checksum.ts'

/** @param dialects names of all that are known, which roots are hashed with */
export function checkTables(
  sqlite: SqliteDatabase.Database,
  hash: KeyedHash,
  dialects: readonly string[],
): StoreCheck[] {
  return [
    checkOf('messages and large values', (findings) => checkParts(sqlite, hash, findings)),
    checkOf('messages under their conversations', (findings) =>
      checkRawNodes(sqlite, hash, dialects, findings),
    ),
    checkOf('canonical nodes', (findings) => checkNodes(sqlite, findings)),
    checkOf('envelopes of requests', (findings) => checkEnvelopes(sqlite, hash, findings)),
    checkOf('sessions', (findings) => checkSessions(sqlite, hash, findings)),
    checkOf('calls and their replies', (findings) => checkCalls(sqlite, hash, findings)),
  ]
}

function checkParts(sqlite: SqliteDatabase.Database, hash: KeyedHash, findings: Findings): void {
  const reader = new PartReader(sqlite)
  const parts = sqlite.prepare<[], { id: number; hash: Buffer; bytes: Buffer; holes: string | null }>(
    'SELECT id, hash, bytes, holes FROM parts',
  )
  for (const part of parts.iterate()) {
    findings.checked++
    if (!isWhole(() => partHash(hash, reader.whole(part)).equals(part.hash))) {
      findings.add(`Part ${part.id} (${part.bytes.length} bytes) is not what was stored.`)
    }
  }
}

function checkRawNodes(
  sqlite: SqliteDatabase.Database,
  hash: KeyedHash,
  dialects: readonly string[],
  findings: Findings,
): void {
  const nodes = sqlite.prepare<
    [],
    {
      id: number
      hash: Buffer
      above: Buffer | null
      parent: number | null
      bytes: Buffer | null
      holes: string | null
    }
  >(
    `SELECT raw_nodes.id, raw_nodes.hash, raw_nodes.parent, above.hash AS above, bytes, holes FROM raw_nodes
     LEFT JOIN raw_nodes above ON above.id = raw_nodes.parent LEFT JOIN parts ON parts.id = raw_nodes.part`,
  )
  const parts = new PartReader(sqlite)
  let unknown = 0
  for (const { bytes: literal, holes, ...node } of nodes.iterate()) {
    findings.checked++
    const bytes = literal === null ? null : wholeOr(literal, () => parts.whole({ bytes: literal, holes }))
    if (node.parent === null) {
      const isKnown = dialects.some((name) => rawRoot(hash, name, bytes).equals(node.hash))
      // A reply that nobody recorded stands at the root of what goes on from it, and says nothing itself.
      if (!isKnown && bytes === null) unknown++
      else if (!isKnown) findings.add(`The tools at root ${node.id} are not those that were stored.`)
    } else if (node.above === null || bytes === null || !rawHash(hash, node.above, bytes).equals(node.hash)) {
      findings.add(`Message ${node.id} is not the one that was stored under message ${node.parent}.`)
    }
  }
  if (unknown > 0) findings.note = `${unknown} conversations go on from a reply that was never recorded`
}

function checkNodes(sqlite: SqliteDatabase.Database, findings: Findings): void {
  findings.checked = sqlite.prepare<[], { n: number }>('SELECT count(*) AS n FROM nodes').get()?.n ?? 0
  const deep = sqlite.prepare<[], { id: number }>(
    `SELECT nodes.id FROM nodes LEFT JOIN nodes above ON above.id = nodes.parent
     WHERE nodes.depth <> coalesce(above.depth + 1, 0) OR length(nodes.hash) <> 32`,
  )
  for (const { id } of deep.iterate())
    findings.add(`Canonical node ${id} does not stand where it was stored.`)
  const crossed = sqlite.prepare<[], { id: number }>(
    `SELECT raw_nodes.id FROM raw_nodes JOIN nodes ON nodes.id = raw_nodes.node
     JOIN raw_nodes above ON above.id = raw_nodes.parent
     WHERE nodes.parent IS NOT NULL AND nodes.parent <> above.node`,
  )
  for (const { id } of crossed.iterate()) {
    findings.add(`Message ${id} and the message before it lie on different canonical paths.`)
  }
}

function checkEnvelopes(sqlite: SqliteDatabase.Database, hash: KeyedHash, findings: Findings): void {
  const envelopes = sqlite.prepare<[], { id: number; hash: Buffer; literal: Buffer; holes: string }>(
    'SELECT id, hash, literal, holes FROM envelopes',
  )
  const part = sqlite.prepare<[Buffer], { id: number }>('SELECT id FROM parts WHERE hash = ?')
  for (const { id, hash: name, literal, holes } of envelopes.iterate()) {
    findings.checked++
    if (!envelopeHash(hash, literal, holes).equals(name)) {
      findings.add(`Envelope ${id} is not what was stored.`)
      continue
    }
    for (const hole of readHoles(holes)) {
      if (hole.kind === 'part' && part.get(Buffer.from(hole.hash, 'hex')) === undefined) {
        findings.add(`Envelope ${id} refers to a value that is not there.`)
      }
    }
  }
}

function checkSessions(sqlite: SqliteDatabase.Database, hash: KeyedHash, findings: Findings): void {
  const sessions = sqlite.prepare<
    [],
    { seq: number; id: string; scope: number; task: string; label: string | null; checksum: Buffer | null }
  >('SELECT seq, id, scope, task, label, checksum FROM sessions')
  let older = 0
  for (const { seq, checksum, ...session } of sessions.iterate()) {
    findings.checked++
    if (checksum === null) older++
    else if (!sessionChecksum(hash, session).equals(checksum)) {
      findings.add(`The row of session ${session.id} (${seq}) is not what was stored.`)
    }
  }
  findings.note = noteOf(older)
}

function checkCalls(sqlite: SqliteDatabase.Database, hash: KeyedHash, findings: Findings): void {
  const calls = sqlite.prepare<
    [],
    { seq: number; id: string; checksum: Buffer | null; continues: number | null; continued: number | null }
  >(
    `SELECT calls.seq, calls.id, calls.checksum, calls.continues, continued.seq AS continued
     FROM calls LEFT JOIN calls continued ON continued.seq = calls.continues`,
  )
  const stored = new StoredChecksums(sqlite, hash)
  let older = 0
  for (const { seq, id, checksum, continues, continued } of calls.iterate()) {
    findings.checked++
    if (continues !== null && continued === null)
      findings.add(`Call ${id} goes on from a call that is not there.`)
    try {
      if (checksum === null) older++
      else if (stored.of(seq)?.equals(checksum) !== true) {
        findings.add(`The record of call ${id} is not what was stored.`)
      }
    } catch (error) {
      findings.add(`The record of call ${id} can't be read: ${messageOf(error)}.`)
    }
  }
  const astray = sqlite.prepare<[], { id: string }>(
    `SELECT calls.id FROM call_replies JOIN calls ON calls.seq = call_replies.call
     WHERE call_replies.scope <> calls.scope OR call_replies.session <> calls.session`,
  )
  for (const { id } of astray.iterate()) findings.add(`A reply of call ${id} lies in another session.`)
  findings.note = noteOf(older)
}

/** What can't even be read is not what was stored. */
function isWhole(look: () => boolean): boolean {
  try {
    return look()
  } catch {
    return false
  }
}

function wholeOr(literal: Buffer, read: () => Buffer): Buffer {
  try {
    return read()
  } catch {
    return literal
  }
}

function noteOf(older: number): string | null {
  return older === 0 ? null : `${older} are older than checksums; only what they refer to was checked`
}
