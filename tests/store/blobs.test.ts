import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import SqliteDatabase from 'better-sqlite3'
import { expect, test } from 'vitest'
import { untrainableReason } from '../../src/contract/index.ts'
import { dialects } from '../../src/dialects/index.ts'
import { checkCapture } from '../../src/store/capture/index.ts'
import { recordCall, startStore } from '../support/store.ts'

const picture = randomBytes(60_000)
const url = (type: string) => ({
  type: 'image_url',
  image_url: { url: `data:image/${type};base64,${picture.toString('base64')}` },
})
const look = (text: string, type = 'png') => ({ role: 'user', content: [{ type: 'text', text }, url(type)] })

test('a picture is stored once, as the bytes it is, in whatever message it comes', async () => {
  await using set = await startStore()
  const { store, reader, home } = set
  const reply = { role: 'assistant', content: 'A cat.' }
  const first = await recordCall(store, { messages: [look('What is it?')], replies: [reply], session: 'a' })
  const again = [look('What is it?'), reply, look('And here?', 'webp')]
  const second = await recordCall(store, { messages: again, replies: [reply], session: 'a' })
  const odd = { role: 'user', content: `${'AB'.repeat(700)}C not whole, nor is ${'A'.repeat(1101)} this` }
  const third = await recordCall(store, {
    messages: [odd],
    replies: [look('drawn')],
    fields: { metadata: look('x') },
  })
  for (const { id, body, reply: sent } of [first, second, third]) {
    expect(Buffer.from(await reader.requestBytes(id)).equals(body)).toBe(true)
    expect(Buffer.from((await reader.replyBytes(id)) ?? []).equals(sent)).toBe(true)
  }
  expect((await reader.stats()).uniqueBytes).toBeLessThan(picture.length + 8000)
  const sqlite = new SqliteDatabase(join(home, 'capture.db'), { readonly: true })
  const blobs = sqlite.prepare('SELECT bytes FROM parts WHERE length(bytes) = ?').all(picture.length)
  expect(blobs).toEqual([{ bytes: picture }])
  sqlite.close()
  const call = await reader.readCall(second.id)
  expect(call.messages[2]).toMatchObject(look('And here?', 'webp'))
  expect(call.replies.map((each) => untrainableReason(call, each))).toEqual(['media'])
  expect(checkCapture(home, dialects).flatMap(({ damage }) => damage)).toEqual([])
})

test('a picture goes with the last message that holds it', async () => {
  await using set = await startStore()
  const { store, home } = set
  await recordCall(store, { messages: [look('one')], replies: [], session: 'a' })
  await recordCall(store, { messages: [look('two', 'webp')], replies: [], session: 'b' })
  const count = () => {
    const sqlite = new SqliteDatabase(join(home, 'capture.db'), { readonly: true })
    const { n } = sqlite
      .prepare<[number], { n: number }>('SELECT count(*) AS n FROM parts WHERE length(bytes) = ?')
      .get(picture.length) ?? { n: -1 }
    sqlite.close()
    return n
  }
  await store.delete({ sessions: [(await store.reader.findSession('a')).id] })
  expect(count()).toBe(1)
  await store.delete({ sessions: [(await store.reader.findSession('b')).id] })
  expect(count()).toBe(0)
  expect(checkCapture(home, dialects).flatMap(({ damage }) => damage)).toEqual([])
})
