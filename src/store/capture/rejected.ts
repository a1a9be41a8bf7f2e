/** Records that no table could take are kept beside the journal; deletion has to look into them too. */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { StoredSelection } from './deletion.ts'
import { frameOf, recordAt } from './journal.ts'
import type { JournalEntry } from './journal-entry.ts'
import { anyEntry, type PlacedCall } from './placed-call.ts'
import { usersIn } from './user-of.ts'

type Entry = JournalEntry | PlacedCall

const rejectedName = 'rejected.log'

/** Removes what matches; returns the paths of files that can't be searched. */
export function deleteRejected(folder: string, selection: StoredSelection): string[] {
  const unreadable = readdirSync(folder)
    .filter((name) => name.endsWith('.damaged'))
    .map((name) => join(folder, name))
  const path = join(folder, rejectedName)
  if (!existsSync(path)) return unreadable
  const bytes = readFileSync(path)
  const kept: Uint8Array[] = []
  let isRead = true
  let at = 0
  for (let record = recordAt(bytes, at); record !== null; record = recordAt(bytes, at)) {
    at = record.next
    const entry = entryOf(record.payload)
    const selected = entry === null ? null : isSelected(entry, selection)
    if (selected === null) isRead = false
    if (selected !== true) kept.push(...frameOf([record.payload]))
  }
  if (at < bytes.length) {
    isRead = false
    kept.push(bytes.subarray(at))
  }
  if (kept.length === 0) rmSync(path)
  else {
    writeFileSync(`${path}.new`, Buffer.concat(kept), { mode: 0o600 })
    renameSync(`${path}.new`, path)
  }
  return isRead ? unreadable : [...unreadable, path]
}

function entryOf(payload: Buffer): Entry | null {
  try {
    return anyEntry(payload)
  } catch {
    return null
  }
}

/** Null where only its place in the tree would tell. */
function sessionOf(entry: Entry): string | null {
  return 'version' in entry ? (entry.known?.session ?? entry.namedSession ?? null) : entry.session
}

/** Null where it isn't known. */
function isSelected(
  entry: Entry,
  { sessions, task, user, keyHashes, before }: StoredSelection,
): boolean | null {
  const session = sessionOf(entry)
  const mayBe =
    (sessions === undefined || session === null || sessions.includes(session)) &&
    (task === undefined || task === entry.task) &&
    (user === undefined || usersIn(entry.request.toString('utf8')).includes(user)) &&
    (keyHashes === undefined || keyHashes.includes(entry.keyHash)) &&
    (before === undefined || entry.startedAt < before)
  return mayBe && sessions !== undefined && session === null ? null : mayBe
}
