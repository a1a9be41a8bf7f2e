import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { createHttpUpstream } from '../../proxy/proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { chatRequest, sendRaw } from '../support/raw-http.ts'
import { type Answer, completionOf, startStandIn } from '../support/stand-in-upstream.ts'

const hi = { model: 'm', messages: [{ role: 'user' as const, content: 'hi' }] }
const json = JSON.stringify(hi)

/** Answers whatever comes, as an upstream that understands more than this proxy. */
const obliging: Answer = (_request, res) => {
  res.writeHead(200, { 'content-type': 'application/json' })
  res.end(JSON.stringify(completionOf({ role: 'assistant', content: 'fine' })))
}

/** Answers as servers do that understand nothing. */
const declining: Answer = (_request, res) => {
  res.writeHead(422, { 'content-type': 'application/json' })
  res.end('{"detail":"their own words"}')
}

function post(origin: string, body: Uint8Array | string, headers: Record<string, string> = {}) {
  return fetch(`${origin}/v1/chat/completions`, { method: 'POST', headers, body: Buffer.from(body) })
}

const encoded: Record<string, [encoding: string, body: Buffer]> = {
  gzip: ['gzip', gzipSync(json)],
  'gzip in two members': ['gzip', Buffer.concat([gzipSync(json.slice(0, 9)), gzipSync(json.slice(9))])],
  deflate: ['deflate', deflateSync(json)],
  br: ['BR', brotliCompressSync(json)],
  zstd: ['zstd', zstdCompressSync(json)],
  'one after the other': ['gzip, identity , br', brotliCompressSync(gzipSync(json))],
}

test.each(Object.entries(encoded))(
  '%s: the request goes up encoded and is on record decoded',
  async (_name, [encoding, body]) => {
    await using shadow = await startProxy({ answer: obliging, options: { capturing: 'strict' } })
    const reply = await post(shadow.origin, body, { 'content-encoding': encoding })
    expect(reply.status).toBe(200)
    await reply.text()
    const [seen] = shadow.standIn.seen
    expect(seen?.body.equals(body)).toBe(true)
    const { rawHeaders = [] } = seen ?? {}
    expect(rawHeaders[rawHeaders.findIndex((name) => name.toLowerCase() === 'content-encoding') + 1]).toBe(
      encoding,
    )
    const [call] = await shadow.reader.callsOfTask('default')
    expect(call).toMatchObject({ status: 'complete', messages: hi.messages })
    expect(Buffer.from(await shadow.reader.requestBytes(call?.id ?? '')).toString()).toBe(json)
  },
)

test('what is changed on its way is not encoded any more', async () => {
  const other = await startStandIn(obliging)
  const named = createHttpUpstream({ name: 'other', baseUrl: other.baseUrl })
  await using shadow = await startProxy({ options: { upstreams: new Map([['other', named]]) } })
  const body = gzipSync(JSON.stringify({ ...hi, model: 'other/m' }))
  expect((await post(shadow.origin, body, { 'content-encoding': 'gzip' })).status).toBe(200)
  expect(other.seen[0]?.body.toString()).toBe(json)
  expect(other.seen[0]?.rawHeaders.map((name) => name.toLowerCase())).not.toContain('content-encoding')
  await named.close()
  await other.close()
})

test('a byte order mark in front is part of the record', async () => {
  await using shadow = await startProxy({ answer: obliging })
  const body = Buffer.from(`\ufeff${json.replace('{', '{"user":"u7",')}`)
  expect((await post(shadow.origin, body)).status).toBe(200)
  expect(shadow.standIn.seen[0]?.body.equals(body)).toBe(true)
  const [call] = await shadow.reader.callsOfTask('default')
  expect(call).toMatchObject({ status: 'complete', messages: hi.messages })
  expect(Buffer.from(await shadow.reader.requestBytes(call?.id ?? '')).equals(body)).toBe(true)
  expect(await shadow.store.planDeletion({ user: 'u7' })).toMatchObject({ calls: 1 })
})

/** Some of them have a meaning for some upstream. */
const unreadable: Record<string, [body: Uint8Array | string, headers?: Record<string, string>]> = {
  'cut off': ['{"messages":['],
  empty: [''],
  'a list': ['[]'],
  'no messages': ['{"model":"m"}'],
  'messages that are none': ['{"messages":[]}'],
  'numbers that JSON has not': ['{"messages":[{"role":"user","content":"hi"}],"seed":NaN}'],
  'UTF-16': [Buffer.from(`\ufeff${json}`, 'utf16le')],
  'deeper than any conversation': [`{"messages":${'['.repeat(1000)}${']'.repeat(1000)}}`],
  'an encoding of its own': [json, { 'content-encoding': 'x-rot13' }],
  'no gzip': [json, { 'content-encoding': 'gzip' }],
  'half of a gzip': [gzipSync(json).subarray(0, 30), { 'content-encoding': 'gzip' }],
  'more than a body may be': [
    gzipSync(JSON.stringify({ ...hi, user: ' '.repeat(200_000) })),
    { 'content-encoding': 'gzip' },
  ],
}

test('a body that says nothing here is the upstream’s to judge, and strict mode’s to refuse', async () => {
  const limits = { requestBytes: 150_000 }
  const bodies = Object.entries(unreadable)
  await using shadow = await startProxy({ answer: declining, options: { limits } })
  await using strict = await startProxy({ answer: obliging, options: { limits, capturing: 'strict' } })
  for (const [name, [body, headers]] of bodies) {
    const reply = await post(shadow.origin, body, headers)
    expect([name, reply.status, await reply.text()]).toEqual([name, 422, '{"detail":"their own words"}'])
    expect([name, shadow.standIn.seen.at(-1)?.body.equals(Buffer.from(body))]).toEqual([name, true])
    const refused = await post(strict.origin, body, headers)
    const error: unknown = await refused.json()
    expect([name, refused.status, error]).toMatchObject([name, 400, { error: { code: 'invalid_request' } }])
  }
  expect(shadow.proxy.counts).toMatchObject({ passedThrough: bodies.length, notCaptured: 0 })
  expect(strict.standIn.seen).toEqual([])
  expect((await shadow.reader.stats()).calls).toBe(0)
  // What an upstream could read, and nobody has on record, is counted.
  shadow.standIn.answer = obliging
  expect((await post(shadow.origin, '{"messages":[{"role":"user"}],"seed":NaN}')).status).toBe(200)
  expect(shadow.proxy.counts.notCaptured).toBe(1)
  expect((await shadow.client().chat.completions.create(hi)).choices[0]?.message.content).toBe('fine')
  expect((await shadow.reader.stats()).calls).toBe(1)
})

test('a body that is long and not captured is asked for, too', async () => {
  await using shadow = await startProxy({ answer: obliging, options: { limits: { requestBytes: 100 } } })
  const content = 'x'.repeat(2000)
  const request = chatRequest(content, ['Expect: 100-continue'], '/v1/files')
  const reply = await sendRaw(shadow.origin, request)
  expect(reply.head).toContain('100 Continue')
  expect(shadow.standIn.seen[0]?.body.toString()).toBe(content)
})
