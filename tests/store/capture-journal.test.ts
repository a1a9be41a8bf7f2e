import { existsSync } from 'node:fs'
import { appendFile, cp, readdir, readFile, readlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import SqliteDatabase from 'better-sqlite3'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { dialects } from '../../src/dialects/index.ts'
import { openCaptureReader, openCaptureStore } from '../../src/store/capture/index.ts'
import { frameOf, recordAt } from '../../src/store/capture/journal.ts'
import { recordCall, startStore, temporaryHome } from '../support/store.ts'

const call = (content: string) => ({
  messages: [{ role: 'user', content }],
  replies: [{ role: 'assistant', content: `to ${content}` }],
})

test('a record is whole or not there', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array()), fc.nat(), fc.nat(), (pieces, cut, flip) => {
      const frame = Buffer.concat(frameOf(pieces))
      expect(recordAt(frame, 0)).toEqual({ payload: Buffer.concat(pieces), next: frame.length })
      expect(recordAt(frame.subarray(0, cut % frame.length), 0)).toBeNull()
      const at = flip % frame.length
      const flipped = Buffer.from(frame)
      flipped[at] = (flipped[at] ?? 0) ^ 1
      expect(recordAt(flipped, 0)?.payload).not.toEqual(Buffer.concat(pieces))
    }),
  )
})

/** A home as a process leaves it that dies with everything still in the journal. */
async function abandoned(count: number) {
  const folder = await temporaryHome()
  await using set = await startStore()
  await set.reader.stats()
  const calls = []
  for (let index = 0; index < count; index++) calls.push(await recordCall(set.store, call(`${index}`)))
  await cp(set.home, folder.home, { recursive: true, filter: (path) => !path.endsWith('.lock') })
  return { ...folder, calls, [Symbol.asyncDispose]: folder[Symbol.asyncDispose] }
}

test('a reader brings in what a process that died has left, and so does the next writer', async () => {
  for (const open of [openCaptureReader, openCaptureStore]) {
    await using left = await abandoned(20)
    const opened = await open(left.home, dialects)
    const reader = 'reader' in opened ? opened.reader : opened
    const calls = await reader.callsOfTask('default')
    expect(calls.map(({ id }) => id)).toEqual(left.calls.map(({ id }) => id))
    expect(calls[7]?.replies[0]?.message.content).toBe('to 7')
    await opened.close()
    expect(await readdir(join(left.home, 'capture.journal'))).toEqual([])
  }
})

test('calls that come without end are seen elsewhere while they come', { timeout: 30_000 }, async () => {
  await using set = await startStore()
  const elsewhere = await openCaptureReader(set.home, dialects)
  const end = performance.now() + 20_000
  let seen = 0
  for (let index = 0; seen < 500 && performance.now() < end; index++) {
    await recordCall(set.store, call(`${index}`))
    // Slower than they can be brought in.
    await wait(1)
    if (index % 500 === 0) seen = (await elsewhere.stats()).calls
  }
  await elsewhere.close()
  expect(seen).toBeGreaterThanOrEqual(500)
})

test('a torn end costs the record that was torn, which nobody was told of', async () => {
  await using left = await abandoned(5)
  const folder = join(left.home, 'capture.journal')
  const [segment = ''] = await readdir(folder)
  const bytes = await readFile(join(folder, segment))
  await appendFile(join(folder, segment), bytes.subarray(0, 100))
  const store = await openCaptureStore(left.home, dialects)
  await recordCall(store, call('after'))
  expect((await store.reader.stats()).calls).toBe(6)
  await store.close()
  expect(await readdir(folder)).toEqual([`${segment}.damaged`])
})

test('a journal that was brought in already changes nothing', async () => {
  await using left = await abandoned(5)
  const folder = join(left.home, 'capture.journal')
  const [segment = ''] = await readdir(folder)
  const bytes = await readFile(join(folder, segment))
  for (let round = 0; round < 2; round++) {
    await writeFile(join(folder, segment), bytes)
    const reader = await openCaptureReader(left.home, dialects)
    expect((await reader.stats()).calls).toBe(5)
    await reader.close()
  }
})

test('with synchronous=full calls that come together are committed together', async () => {
  await using folder = await temporaryHome()
  const store = await openCaptureStore(folder.home, dialects, { synchronous: 'full' })
  await Promise.all(Array.from({ length: 50 }, (_, index) => recordCall(store, call(`${index}`))))
  expect((await store.reader.stats()).calls).toBe(50)
  await store.close()
})

test.each(['normal', 'full'] as const)(
  '%s: more than a segment holds is taken in, segment by segment',
  async (mode) => {
    await using folder = await temporaryHome()
    const store = await openCaptureStore(folder.home, dialects, { synchronous: mode })
    const large = 'x'.repeat(1.5 * 1024 * 1024)
    const calls = await Promise.all(
      Array.from({ length: 8 }, (_, index) => recordCall(store, call(`${index}${large}`))),
    )
    expect((await store.reader.stats()).calls).toBe(8)
    const last = await store.reader.requestBytes(calls[7]?.id ?? '')
    expect(Buffer.from(last).equals(calls[7]?.body ?? Buffer.alloc(0))).toBe(true)
    expect((await readdir(join(folder.home, 'capture.journal'))).length).toBe(1)
    await store.close()
  },
)

test('a store from a newer version is refused and left as it is', async () => {
  await using folder = await temporaryHome()
  await (await openCaptureStore(folder.home, dialects)).close()
  const path = join(folder.home, 'capture.db')
  const db = new SqliteDatabase(path)
  db.prepare(
    "INSERT INTO kysely_migration (name, timestamp) VALUES ('9999_later', '2099-01-01T00:00:00.000Z')",
  ).run()
  db.close()
  await expect(openCaptureStore(folder.home, dialects)).rejects.toMatchObject({
    code: 'store_failed',
    message: expect.stringContaining('newer version'),
  })
})

test.runIf(existsSync('/proc/self/fd'))('whatever was opened is closed', async () => {
  const openIn = async (home: string) => {
    const links = await Promise.all(
      (await readdir('/proc/self/fd')).map((file) => readlink(join('/proc/self/fd', file)).catch(() => '')),
    )
    return links.filter((link) => link.startsWith(home))
  }
  await using left = await abandoned(3)
  for (const open of [openCaptureReader, openCaptureReader, openCaptureStore]) {
    const opened = await open(left.home, dialects)
    expect(await openIn(left.home)).not.toEqual([])
    await opened.close()
    expect(await openIn(left.home)).toEqual([])
  }
  expect(await readdir(left.home)).not.toContain('capture.db-wal')
})

test('a file that is no database is a clear error', async () => {
  await using folder = await temporaryHome()
  await writeFile(join(folder.home, 'capture.db'), 'no database at all, but long enough to look at')
  await expect(openCaptureStore(folder.home, dialects)).rejects.toMatchObject({ code: 'store_failed' })
})

test('without its secret, or with a damaged one, a store does not guess', async () => {
  await using folder = await temporaryHome()
  await (await openCaptureStore(folder.home, dialects)).close()
  await writeFile(join(folder.home, 'store.secret'), 'short')
  await expect(openCaptureStore(folder.home, dialects)).rejects.toThrow('store.secret has 5 bytes')
})

test('no credential is ever written', async () => {
  await using set = await startStore()
  await recordCall(set.store, { ...call('x'), credential: 'Bearer sk-very-secret' })
  await set.store.close()
  for (const name of await readdir(set.home, { recursive: true, withFileTypes: true })) {
    if (!name.isFile()) continue
    const bytes = await readFile(join(name.parentPath, name.name))
    expect([name.name, bytes.includes('sk-very-secret')]).toEqual([name.name, false])
  }
})
