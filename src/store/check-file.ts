/** What every check of a database file shares: SQLite's own checks, and the collecting of what is found. */
import SqliteDatabase from 'better-sqlite3'
import { damageShown, type StoreCheck } from '../contract/index.ts'
import { messageOf } from '../lib/error.ts'

/** Gathers what one check finds. */
export class Findings {
  checked = 0
  damaged = 0
  note: string | null = null
  private readonly name: string
  private readonly damage: string[] = []

  constructor(name: string) {
    this.name = name
  }

  add(sentence: string): void {
    this.damaged++
    if (this.damage.length < damageShown) this.damage.push(sentence)
  }

  result(): StoreCheck {
    const { name, checked, damage, damaged, note } = this
    return { name, checked, damage, damaged, note }
  }
}

/** Runs one check; what a damaged file throws while it is read is damage too. */
export function checkOf(name: string, look: (findings: Findings) => void): StoreCheck {
  const findings = new Findings(name)
  try {
    look(findings)
  } catch (error) {
    findings.add(`The check ended early: ${messageOf(error)}.`)
  }
  return findings.result()
}

/** Opens a file for checking alone: nothing is created, migrated or recovered. */
export function openForChecking(path: string): SqliteDatabase.Database {
  return new SqliteDatabase(path, { readonly: true, fileMustExist: true, timeout: 10_000 })
}

/** Pages, b-trees, indexes against their tables, and references between tables. */
export function checkFile(sqlite: SqliteDatabase.Database, name: string): StoreCheck {
  return checkOf(`${name}: pages, indexes and references`, (findings) => {
    findings.checked = Number(sqlite.pragma('page_count', { simple: true }))
    const integrity = sqlite.prepare<[], { integrity_check: string }>('PRAGMA integrity_check(1000)').all()
    for (const { integrity_check: text } of integrity) if (text !== 'ok') findings.add(`${name}: ${text}`)
    const references = sqlite
      .prepare<[], { table: string; rowid: number | null; parent: string }>('PRAGMA foreign_key_check')
      .all()
    for (const { table, rowid, parent } of references) {
      findings.add(`${name}: row ${rowid ?? '(unnumbered)'} of ${table} refers to a row that ${parent} lacks`)
    }
  })
}
