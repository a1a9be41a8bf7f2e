import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import type { Migration } from 'kysely/migration'
import { expect, test } from 'vitest'
import { openDatabase } from '../../src/store/database.ts'

const first: Migration = { up: async (db) => void (await sql`create table a (x integer)`.execute(db)) }

test('a migration that fails half-way leaves the file as it was, and is made later', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'shadow-migration-'))
  const path = join(folder, 'x.db')
  const second: Migration = {
    async up(db) {
      await sql`create table b (x integer)`.execute(db)
      await sql`create table c (x integer)`.execute(db)
    },
  }
  const halfway: Migration = {
    async up(db) {
      await sql`create table b (x integer)`.execute(db)
      throw new Error('database or disk is full')
    },
  }
  await expect(openDatabase(path, { '1': first, '2': halfway })).rejects.toThrow(/disk is full/)
  const opened = await openDatabase(path, { '1': first, '2': second })
  const tables = opened.sqlite.prepare("select name from sqlite_master where name in ('a', 'b', 'c')").all()
  expect(tables).toHaveLength(3)
  await opened.close()
  rmSync(folder, { recursive: true })
})
