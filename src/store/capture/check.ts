/** Verifies a home's captured traffic without changing any of it, while a server may be writing. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { StoreCheck } from '../../contract/index.ts'
import { messageOf } from '../../lib/error.ts'
import { checkFile, checkOf, type Findings, openForChecking } from '../check-file.ts'
import { assertKnownSchema } from '../database.ts'
import { openStoreSecret } from '../secret.ts'
import { checkTables } from './check-tables.ts'
import { anyEntry } from './placed-call.ts'
import { capturePath, journalFolder, lockHomeIfFree } from './home.ts'
import { recordAt, segmentPath, segmentsOf } from './journal.ts'
import type { MessageReader } from './message-tree.ts'
import { captureMigrations } from './migrations.ts'

export function checkCapture(home: string, readers: readonly MessageReader[]): StoreCheck[] {
  const path = capturePath(home)
  if (!existsSync(path)) return [checkOf('captured traffic', (findings) => void (findings.note = 'none yet'))]
  const secret = checkOf('store.secret', (findings) => {
    findings.checked = 1
    // Opening would make a new one, under which nothing could be recognised.
    if (!existsSync(join(home, 'store.secret')))
      findings.add('store.secret is missing; restore it from a backup.')
    else openStoreSecret(home)
  })
  return [secret, ...checkDatabase(home, path, readers, secret.damaged === 0), checkJournal(home)]
}

function checkDatabase(
  home: string,
  path: string,
  readers: readonly MessageReader[],
  hasSecret: boolean,
): StoreCheck[] {
  let sqlite: ReturnType<typeof openForChecking>
  try {
    sqlite = openForChecking(path)
    // A file is not read before the first question.
    sqlite.pragma('schema_version')
  } catch (error) {
    return [
      checkOf('capture.db', (findings) => findings.add(`capture.db can't be opened: ${messageOf(error)}.`)),
    ]
  }
  try {
    assertKnownSchema(sqlite, path, captureMigrations)
    // One moment of the store, however long the check takes.
    sqlite.exec('BEGIN')
    const file = checkFile(sqlite, 'capture.db')
    const names = readers.map(({ name }) => name)
    return hasSecret ? [file, ...checkTables(sqlite, openStoreSecret(home), names)] : [file]
  } finally {
    sqlite.close()
  }
}

function checkJournal(home: string): StoreCheck {
  return checkOf('journal', (findings) => {
    const folder = journalFolder(home)
    if (!existsSync(folder)) return
    const lock = lockHomeIfFree(home)
    try {
      const segments = segmentsOf(folder)
      for (const number of segments) {
        const isWrittenTo = lock === null && number === segments.at(-1)
        checkSegment(segmentPath(folder, number), isWrittenTo, findings)
      }
    } finally {
      lock?.release()
    }
    for (const name of readdirSync(folder)) {
      if (name.endsWith('.damaged') || name === 'rejected.log') {
        const { size } = statSync(join(folder, name))
        findings.add(`${size} bytes are kept in ${name}, which no table could take.`)
      }
    }
  })
}

function checkSegment(path: string, isWrittenTo: boolean, findings: Findings): void {
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch {
    // Brought into the tables meanwhile.
    return
  }
  let at = 0
  for (let record = recordAt(bytes, at); record !== null; record = recordAt(bytes, at)) {
    findings.checked++
    try {
      anyEntry(record.payload)
    } catch (error) {
      findings.add(`The record at byte ${at} of ${path} can't be read: ${messageOf(error)}.`)
    }
    at = record.next
  }
  // The end of the segment under way may be being written.
  if (at < bytes.length && !isWrittenTo) {
    findings.add(`${bytes.length - at} bytes at the end of ${path} are no whole record.`)
  }
}
