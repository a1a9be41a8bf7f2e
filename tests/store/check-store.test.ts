import { createHash } from 'node:crypto'
import { appendFile, copyFile, cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import SqliteDatabase from 'better-sqlite3'
import { expect, test } from 'vitest'
import { dialects } from '../../src/dialects/index.ts'
import { seededRandom } from '../../src/lib/random.ts'
import { checkCapture, openCaptureReader, openCaptureStore } from '../../src/store/capture/index.ts'
import { captureMigrations } from '../../src/store/capture/migrations.ts'
import { openDatabase } from '../../src/store/database.ts'
import { useHome } from '../support/home.ts'
import { recordCall, startStore, temporaryHome } from '../support/store.ts'

const damageIn = (home: string) => checkCapture(home, dialects).flatMap(({ damage }) => damage)

/** A closed home with conversations, tools, large values and a reply that goes two ways. */
async function filledHome() {
  await using set = await startStore()
  const calls = []
  for (let index = 0; index < 12; index++) {
    const opening = { role: 'user', content: `Question ${index % 4} with a needle-${index % 4} in it` }
    const reply = { role: 'assistant', content: `Answer ${index}` }
    const tools = [{ type: 'function', function: { name: `find_${index % 2}`, parameters: {} } }]
    const about = { session: `s${index % 3}`, tools: index % 2 === 0 ? tools : [] }
    calls.push(await recordCall(set.store, { messages: [opening], replies: [reply], ...about }))
    const next = [opening, reply, { role: 'user', content: 'And then?' }]
    calls.push(await recordCall(set.store, { messages: next, replies: [reply, opening], ...about }))
  }
  await set.store.close()
  const folder = await temporaryHome()
  await cp(set.home, folder.home, { recursive: true })
  return { ...folder, calls, [Symbol.asyncDispose]: folder[Symbol.asyncDispose] }
}

/** A hash of everything that the tables hold. */
function contentOf(path: string): string {
  const sqlite = new SqliteDatabase(path, { readonly: true })
  try {
    const tables = ['parts', 'nodes', 'raw_nodes', 'envelopes', 'scopes', 'sessions', 'calls', 'call_replies']
    const content = JSON.stringify(
      [...tables, 'reply_bodies'].map((table) => sqlite.prepare(`SELECT * FROM ${table}`).all()),
    )
    return createHash('sha256').update(content).digest('hex')
  } finally {
    sqlite.close()
  }
}

test('a sound store is found sound, also while its server writes', async () => {
  await using left = await filledHome()
  expect(damageIn(left.home)).toEqual([])
  const store = await openCaptureStore(left.home, dialects)
  await recordCall(store, { messages: [{ role: 'user', content: 'new' }], replies: [], session: 's9' })
  expect(damageIn(left.home)).toEqual([])
  await store.close()
  const checks = checkCapture(left.home, dialects)
  expect(checks.find(({ name }) => name.startsWith('calls'))).toMatchObject({ checked: 25, note: null })
})

test('every flipped byte that means anything is found', async () => {
  await using left = await filledHome()
  const path = join(left.home, 'capture.db')
  const sound = await readFile(path)
  const before = contentOf(path)
  const random = seededRandom(5)
  let found = 0
  for (let round = 0; round < 120; round++) {
    const bytes = Buffer.from(sound)
    let at = Math.floor(random() * bytes.length)
    // Most of a small file is room that nothing lies in.
    while (bytes[at] === 0) at = Math.floor(random() * bytes.length)
    bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random() * 8))
    await writeFile(path, bytes)
    const damage = damageOrError(left.home)
    if (damage.length > 0) found++
    else expect([at, contentOf(path)]).toEqual([at, before])
  }
  expect(found).toBeGreaterThan(80)
})

function damageOrError(home: string): string[] {
  try {
    return damageIn(home)
  } catch (error) {
    return [String(error)]
  }
}

test('what is damaged is named', async () => {
  await using left = await filledHome()
  const path = join(left.home, 'capture.db')
  const sound = await readFile(path)
  const flip = async (needle: string) => {
    const bytes = Buffer.from(sound)
    const at = bytes.indexOf(needle)
    expect(at).toBeGreaterThan(0)
    bytes[at] = (bytes[at] ?? 0) ^ 1
    await writeFile(path, bytes)
    return damageIn(left.home)
  }
  expect(await flip('needle-2')).toEqual([
    expect.stringMatching(/^Part \d+ \(\d+ bytes\) is not what was stored/),
    ...Array.from({ length: 4 }, () => expect.stringMatching(/^Message \d+ is not the one/)),
  ])
  await writeFile(path, sound)
  const sqlite = new SqliteDatabase(path)
  sqlite.pragma('foreign_keys = OFF')
  sqlite.exec("UPDATE calls SET status = 'aborted' WHERE seq = 3; UPDATE calls SET node = 9999 WHERE seq = 4")
  sqlite.exec(
    "UPDATE sessions SET task = 'other' WHERE seq = 1; UPDATE calls SET continues = 77 WHERE seq = 5",
  )
  sqlite.exec('UPDATE call_replies SET node = 1 WHERE call = 6; DELETE FROM parts WHERE id = 2')
  sqlite.close()
  const damage = damageIn(left.home).join('\n')
  for (const says of [/refers to a row that nodes lacks/, /refers to a row that parts lacks/]) {
    expect(damage).toMatch(says)
  }
  for (const seq of [3, 4, 5, 6]) expect(damage).toContain(`The record of call ${left.calls[seq - 1]?.id}`)
  expect(damage).toMatch(/goes on from a call that is not there/)
  expect(damage).toMatch(/row of session [0-9a-f]+ \(1\)/)
})

test('the journal’s end, and files that no table could take, are told of', async () => {
  await using left = await filledHome()
  await writeFile(join(left.home, 'capture.journal', '000000009.log'), Buffer.from('half a record'))
  await appendFile(join(left.home, 'capture.journal', 'rejected.log'), 'x')
  expect(damageIn(left.home)).toEqual([
    expect.stringMatching(/13 bytes at the end of .*000000009\.log are no whole record/),
    expect.stringMatching(/1 bytes are kept in rejected\.log/),
  ])
})

test('the command says what is damaged, and ends with 1', async () => {
  await using left = await filledHome()
  await using home = useHome(left.home)
  const sound = await home.shadow(['doctor', '--store'])
  expect({ code: sound.code, stderr: sound.stderr }).toEqual({ code: 0, stderr: '' })
  const path = join(left.home, 'capture.db')
  const bytes = await readFile(path)
  const at = bytes.indexOf('needle-1')
  bytes[at] = 0x4e
  await writeFile(path, bytes)
  const { code, stdout } = await home.shadow(['doctor', '--store'])
  expect({ code, stdout }).toEqual({
    code: 1,
    stdout: expect.stringMatching(/Part \d+ .* is not what was stored/),
  })
})

test('a store of every earlier version is brought forward, and loses nothing', async () => {
  const names = Object.keys(captureMigrations)
  for (let version = 1; version < names.length; version++) {
    await using left = await filledHome()
    const path = join(left.home, 'capture.db')
    const newest = join(left.home, 'newest.db')
    await copyFile(path, newest)
    await writeFile(path, '')
    const earlier = Object.fromEntries(Object.entries(captureMigrations).slice(0, version))
    const old = await openDatabase(path, earlier, { pageSizeBytes: 8192 })
    copyRows(old.sqlite, newest)
    // The newest checksums bind a column that older files lack; theirs didn't.
    if (version >= 3 && version < 6) old.sqlite.exec('UPDATE calls SET checksum = NULL')
    await old.close()
    const reader = await openCaptureReader(left.home, dialects)
    expect((await reader.stats()).calls).toBe(24)
    for (const { id, body, reply } of left.calls) {
      expect(Buffer.from(await reader.requestBytes(id)).equals(body)).toBe(true)
      expect(Buffer.from((await reader.replyBytes(id)) ?? []).equals(reply)).toBe(true)
    }
    await reader.close()
    expect(damageIn(left.home)).toEqual([])
    const store = await openCaptureStore(left.home, dialects)
    await recordCall(store, { messages: [{ role: 'user', content: 'new' }], replies: [] })
    expect((await store.reader.stats()).calls).toBe(25)
    await store.close()
  }
})

/** Fills an old schema with what a newer file holds, as far as it has columns for it. */
function copyRows(old: SqliteDatabase.Database, newest: string): void {
  old.exec(`ATTACH '${newest}' AS newest`)
  old.pragma('foreign_keys = OFF')
  const tables = old
    .prepare<[], { name: string }>(
      "SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'kysely%'",
    )
    .all()
  for (const { name } of tables) {
    const columns = old
      .prepare<[], { name: string }>(`SELECT name FROM pragma_table_info('${name}', 'main')`)
      .all()
    const list = columns.map((column) => column.name).join(', ')
    old.exec(`INSERT INTO main.${name} (${list}) SELECT ${list} FROM newest.${name}`)
  }
  old.exec('DETACH newest')
}

test('a store of a newer version is refused by writer, reader and doctor, and left as it is', async () => {
  await using left = await filledHome()
  const path = join(left.home, 'capture.db')
  const sqlite = new SqliteDatabase(path)
  sqlite.exec("INSERT INTO kysely_migration (name, timestamp) VALUES ('9999_later', '2099')")
  sqlite.close()
  const before = await readFile(path)
  const newer = { code: 'store_failed', message: expect.stringContaining('newer version') }
  await expect(openCaptureStore(left.home, dialects)).rejects.toMatchObject(newer)
  await expect(openCaptureReader(left.home, dialects)).rejects.toMatchObject(newer)
  expect(() => damageIn(left.home)).toThrow('newer version')
  expect((await readFile(path)).equals(before)).toBe(true)
})
