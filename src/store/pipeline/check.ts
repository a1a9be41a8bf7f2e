/** Verifies pipeline.db: its pages, and that every noun in it can be read. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type StoreCheck, taskConfig, verdict } from '../../contract/index.ts'
import { messageOf } from '../../lib/error.ts'
import { checkFile, checkOf, openForChecking } from '../check-file.ts'
import { assertKnownSchema } from '../database.ts'
import { pipelineMigrations } from './migrations.ts'

const nouns = [
  { table: 'tasks', key: 'name', column: 'config', schema: taskConfig },
  { table: 'verdicts', key: 'id', column: 'verdict', schema: verdict },
] as const

export function checkPipeline(home: string): StoreCheck[] {
  const path = join(home, 'pipeline.db')
  if (!existsSync(path)) return []
  let sqlite: ReturnType<typeof openForChecking>
  try {
    sqlite = openForChecking(path)
    sqlite.pragma('schema_version')
  } catch (error) {
    return [
      checkOf('pipeline.db', (findings) => findings.add(`pipeline.db can't be opened: ${messageOf(error)}.`)),
    ]
  }
  try {
    assertKnownSchema(sqlite, path, pipelineMigrations)
    return [
      checkFile(sqlite, 'pipeline.db'),
      ...nouns.map(({ table, key, column, schema }) =>
        checkOf(table, (findings) => {
          const rows = sqlite.prepare<[], { name: string; text: string }>(
            `SELECT ${key} AS name, ${column} AS text FROM ${table}`,
          )
          for (const { name, text } of rows.iterate()) {
            findings.checked++
            try {
              schema.parse(JSON.parse(text))
            } catch (error) {
              findings.add(`${name} in ${table} can't be read: ${messageOf(error)}.`)
            }
          }
        }),
      ),
    ]
  } finally {
    sqlite.close()
  }
}
