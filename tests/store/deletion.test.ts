import { cp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import SqliteDatabase from 'better-sqlite3'
import { expect, test } from 'vitest'
import { dialects } from '../../src/dialects/index.ts'
import { checkCapture, openCaptureStore } from '../../src/store/capture/index.ts'
import { frameOf } from '../../src/store/capture/journal.ts'
import { filesWith } from '../support/grep-home.ts'
import { placedCall, recordCall, type RecordedCall, startStore, temporaryHome } from '../support/store.ts'

const system = { role: 'system', content: 'shared-opening: you book flights, and you are brief about it.' }
const user = (content: string) => ({ role: 'user', content })
const said = (content: string) => ({ role: 'assistant', content })
const long = (text: string) => `${text} ${'filler '.repeat(300)}`

function conversation(secret: string): Pick<RecordedCall, 'messages' | 'replies'>[] {
  const first = [system, user(long(`${secret}-question`))]
  const reply = said(long(`${secret}-answer`))
  return [
    { messages: first, replies: [reply] },
    {
      messages: [...first, reply, user(`${secret}-more`)],
      replies: [said(`${secret}-end`), said('shared-end')],
    },
  ]
}

const damage = (home: string) => checkCapture(home, dialects).flatMap((check) => check.damage)

test('a session is gone from the bytes of every file, and what others share stays', async () => {
  await using set = await startStore()
  const { store, reader, home } = set
  for (let index = 0; index < 30; index++) {
    for (const turn of conversation(`keep${index}`))
      await recordCall(store, { ...turn, session: `k${index}` })
    if (index === 15)
      for (const turn of conversation('erased')) await recordCall(store, { ...turn, session: 'out' })
  }
  // The same words in another session are that session's own.
  await recordCall(store, {
    messages: [system, user(long('erased-question'))],
    replies: [said('x')],
    session: 'twin',
  })
  const { id } = await reader.findSession('out')
  expect(await store.planDeletion({ sessions: [id] })).toEqual({ calls: 2, sessions: 1, tasks: ['default'] })
  expect(await filesWith(home, 'erased-answer')).not.toEqual([])
  const result = await store.delete({ sessions: [id] })
  expect(result).toMatchObject({ calls: 2, sessions: 1, isScrubbed: true, unreadable: [] })
  for (const text of ['erased-answer', 'erased-more', 'erased-end'])
    expect(await filesWith(home, text)).toEqual([])
  expect(await filesWith(home, 'erased-question')).toEqual(['capture.db'])
  const twin = await reader.findSession('twin')
  await store.delete({ sessions: [twin.id] })
  expect(await filesWith(home, 'erased')).toEqual([])
  expect(await filesWith(home, 'shared-opening')).toEqual(['capture.db'])

  expect((await reader.stats()).calls).toBe(60)
  expect(damage(home)).toEqual([])
  const tree = await reader.sessionTree('k3')
  expect(tree.roots).toHaveLength(1)
  expect(await reader.trajectoriesOfSession(tree.session.id)).toHaveLength(2)
  // The agent goes on: its next call brings its history back, under a session of its own name.
  const [, second] = conversation('erased')
  const later = await placedCall(store, { messages: [], replies: [], ...second, session: 'out' })
  expect(later).toMatchObject({ parent: null, session: id })
})

test('calls that went on from a deleted one begin a branch of their own', async () => {
  await using set = await startStore()
  const { store, reader, home } = set
  const [first, second] = conversation('old')
  if (first === undefined || second === undefined) throw new Error('It has two turns.')
  const before = await recordCall(store, { ...first, session: 's', at: 1000 })
  const after = await placedCall(store, { ...second, session: 's', at: 5000 })
  const answer = said('x'.repeat(80))
  await recordCall(store, { messages: [user('a')], replies: [answer], session: 't', at: 1000 })
  const compacted = {
    messages: [user('[elided]'), answer, user('b')],
    replies: [said('c')],
    session: 't',
    at: 5000,
  }
  const { id: marked, continues } = await placedCall(store, compacted)
  expect([after.parent, continues]).toEqual([before.id, expect.any(String)])
  expect((await store.delete({ before: 2000 })).calls).toBe(2)
  expect((await reader.readCall(after.id)).parent).toBeNull()
  expect((await reader.readCall(marked)).continues).toBeNull()
  expect(Buffer.from(await reader.requestBytes(after.id)).equals(after.body)).toBe(true)
  expect(damage(home)).toEqual([])
})

test('a user’s calls are found by what the requests say, a key’s by what they came with', async () => {
  await using set = await startStore()
  const { store, home } = set
  const turn = (text: string) => ({ messages: [user(text)], replies: [said(`to ${text}`)] })
  await recordCall(store, { ...turn('u-one'), fields: { user: 'ann@example.org' } })
  await recordCall(store, { ...turn('u-two'), fields: { metadata: { user_id: 'ann@example.org' } } })
  const large = { note: 'n'.repeat(600), user_id: 'ann@example.org' }
  await recordCall(store, { ...turn('u-three'), fields: { metadata: large } })
  await recordCall(store, { ...turn('u-four'), fields: { user: 'bob' } })
  await recordCall(store, { ...turn('u-five ann@example.com'), credential: 'Bearer sk-1' })
  expect((await store.delete({ user: 'ann@example.org' })).calls).toBe(3)
  expect(await filesWith(home, 'ann@example.org')).toEqual([])
  expect((await store.delete({ credentials: ['sk-1', 'Bearer sk-1'] })).calls).toBe(1)
  expect(await filesWith(home, 'u-five')).toEqual([])
  expect(await filesWith(home, 'u-four')).toEqual(['capture.db'])
  expect((await store.delete({ task: 'default' })).calls).toBe(1)
  const sqlite = new SqliteDatabase(join(home, 'capture.db'), { readonly: true })
  for (const table of [
    'parts',
    'nodes',
    'raw_nodes',
    'envelopes',
    'envelope_parts',
    'sessions',
    'scopes',
    'calls',
  ]) {
    expect([table, sqlite.prepare(`SELECT count(*) AS n FROM ${table}`).get()]).toEqual([table, { n: 0 }])
  }
  sqlite.close()
})

test('calls come in while others go, and a store of an older version is written anew', async () => {
  await using set = await startStore()
  for (let index = 0; index < 120; index++) {
    await recordCall(set.store, {
      messages: [user(long(`gone-${index}`))],
      replies: [said('x')],
      session: 'gone',
    })
  }
  await set.store.close()
  const path = join(set.home, 'capture.db')
  const old = new SqliteDatabase(path)
  old.pragma('journal_mode = DELETE')
  old.pragma('auto_vacuum = NONE')
  old.exec('VACUUM')
  old.close()
  const store = await openCaptureStore(set.home, dialects)
  const { id } = await store.reader.findSession('gone')
  const deletion = store.delete({ sessions: [id] })
  for (let index = 0; index < 40; index++) {
    await recordCall(store, { messages: [user(`new-${index}`)], replies: [said('y')], session: 'new' })
  }
  expect(await deletion).toMatchObject({ calls: 120, isScrubbed: true })
  expect((await store.reader.stats()).calls).toBe(40)
  expect(await filesWith(set.home, 'gone-')).toEqual([])
  await store.close()
  expect(damage(set.home)).toEqual([])
  const after = new SqliteDatabase(path, { readonly: true })
  expect(after.pragma('auto_vacuum', { simple: true })).toBe(2)
  after.close()
})

test('records that no table could take are searched too, and what can’t be is named', async () => {
  await using set = await startStore()
  const folder = join(set.home, 'capture.journal')
  await writeFile(join(folder, 'rejected.log'), Buffer.concat(frameOf([Buffer.from('unreadable')])))
  await writeFile(join(folder, '000000007.log.damaged'), 'torn')
  await recordCall(set.store, { messages: [user('a')], replies: [], session: 's' })
  const { unreadable } = await set.store.delete({ task: 'default' })
  expect(unreadable.map((path) => path.slice(folder.length + 1))).toEqual([
    '000000007.log.damaged',
    'rejected.log',
  ])
})

test('a record that no table could take, and whose session nobody knows, is named', async () => {
  await using set = await startStore()
  const folder = join(set.home, 'capture.journal')
  const opening = { messages: [user('a')], replies: [said('b')] }
  const kept = await placedCall(set.store, opening)
  const unknown = { ...opening, messages: [user('a'), said('b'), user('in rejected')] }
  await recordCall(set.store, { ...unknown, dialect: 'none' })
  await recordCall(set.store, { ...unknown, dialect: 'none', session: 'named' })
  expect((await set.store.delete({ sessions: [kept.session], task: 'other' })).unreadable).toEqual([])
  expect(await set.store.delete({ sessions: [kept.session] })).toMatchObject({
    calls: 1,
    unreadable: [join(folder, 'rejected.log')],
  })
  // Without a session everything is known.
  expect((await set.store.delete({ task: 'default' })).unreadable).toEqual([])
  expect(await filesWith(set.home, 'in rejected')).toEqual([])
})

test('what is deleted while it comes in does not come back after a crash', async () => {
  await using set = await startStore()
  await using after = await temporaryHome()
  for (let index = 0; index < 50; index++) {
    await recordCall(set.store, { messages: [user(`early-${index}`)], replies: [said('x')] })
  }
  const deletion = set.store.delete({ task: 'default' })
  const coming = Array.from({ length: 50 }, (_, index) =>
    recordCall(set.store, { messages: [user(`late-${index}`)], replies: [said('x')] }),
  )
  const { calls } = await deletion
  await Promise.all(coming)
  const left = (await set.reader.stats()).calls
  expect(calls).toBe(100 - left)
  // As a process leaves it that is killed now.
  await cp(set.home, after.home, { recursive: true, filter: (path) => !path.endsWith('.lock') })
  const store = await openCaptureStore(after.home, dialects)
  expect((await store.reader.stats()).calls).toBe(left)
  await store.close()
})
