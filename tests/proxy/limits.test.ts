import { readdir, readFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { messageOf } from '../../src/lib/error.ts'
import { startProxy } from '../support/proxy.ts'
import { chatRequest, sendRaw } from '../support/raw-http.ts'
import { completionOf } from '../support/stand-in-upstream.ts'

const hi = '{"model":"m","messages":[{"role":"user","content":"hi"}]}'

function post(origin: string, body: string, path = '/v1/chat/completions') {
  return fetch(`${origin}${path}`, { method: 'POST', body })
}

test('a body beyond the limit is refused before it is read, whether its length was said or not', async () => {
  await using shadow = await startProxy({ options: { limits: { requestBytes: 1000 } } })
  const head = 'POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\n'
  const declared = await sendRaw(shadow.origin, `${head}Content-Length: 99999999999\r\n\r\n{`)
  expect(declared.head).toContain('413')
  expect(JSON.parse(declared.body.toString()).error).toMatchObject({
    type: 'invalid_request_error',
    code: 'too_large',
  })
  const asked = await sendRaw(
    shadow.origin,
    `${head}Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n`,
  )
  expect(asked.head.startsWith('HTTP/1.1 413')).toBe(true)
  const chunk = `3e8\r\n${'x'.repeat(1000)}\r\n`
  const chunked = await sendRaw(shadow.origin, `${head}Transfer-Encoding: chunked\r\n\r\n${chunk}${chunk}`)
  expect(chunked.head).toContain('413')
  expect(shadow.standIn.seen).toEqual([])
  expect((await post(shadow.origin, hi)).status).toBe(200)
})

test('a URL and a head beyond their limits are refused', async () => {
  await using shadow = await startProxy()
  const url = await post(shadow.origin, hi, `/v1/chat/completions?${'q'.repeat(9000)}`)
  expect(url.status).toBe(413)
  const head = await sendRaw(shadow.origin, chatRequest(hi, [`X-Long: ${'h'.repeat(70_000)}`]))
  expect(head.head).toContain('431')
  expect(shadow.standIn.seen).toEqual([])
})

test('a client that sends its request a byte at a time is cut off, and the others are served', async () => {
  await using shadow = await startProxy({
    options: { limits: { headersTimeoutMs: 200, requestTimeoutMs: 400, checkIntervalMs: 50 } },
  })
  const lates = [
    'GET / HTTP/1.1\r\nX: ',
    'POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\r\n',
  ]
  const cut = lates.map(
    (start) =>
      new Promise<void>((resolve) => {
        const socket = connect(Number(new URL(shadow.origin).port), '127.0.0.1', () => socket.write(start))
        const timer = setInterval(() => socket.write('x'), 50)
        socket.on('error', () => {})
        socket.resume()
        socket.on('close', () => {
          clearInterval(timer)
          resolve()
        })
      }),
  )
  expect((await post(shadow.origin, hi)).status).toBe(200)
  await Promise.all(cut)
  expect(shadow.standIn.seen.length).toBe(1)
})

test('a small reply that stands for a huge one passes, and is not unpacked whole for the record', async () => {
  const bomb = gzipSync(Buffer.alloc(300 * 1024 * 1024, 0x20))
  await using shadow = await startProxy({
    answer: (_request, res) => {
      res.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' })
      res.end(bomb)
    },
  })
  const before = process.memoryUsage().rss
  const reply = await sendRaw(shadow.origin, chatRequest(hi))
  expect(reply.body.length).toBeGreaterThan(bomb.length)
  expect(process.memoryUsage().rss - before).toBeLessThan(250 * 1024 * 1024)
  const [call] = await shadow.reader.listCalls()
  expect(call?.error).toContain('longer than a record may be')
})

/** What a front and a back server may read as different numbers of requests. */
const ambiguous: Record<string, string> = {
  'length and chunks':
    'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/x HTTP/1.1\r\n\r\n',
  'two lengths': 'Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!',
  'a signed length': 'Content-Length: +5\r\n\r\nhello',
  'chunks that are not last': 'Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n',
  'chunks by another name': 'Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n',
  'a space before the colon': 'Content-Length : 5\r\n\r\nhello',
  'a folded header': 'X: a\r\n b\r\nTransfer-Encoding:\r\n chunked\r\n\r\nhello',
  'a bare line feed': 'X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'a chunk size that overflows': 'Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx\r\n0\r\n\r\n',
  'a bare CR in a value': 'X: a\rTransfer-Encoding: chunked\r\n\r\n',
}

test.each(Object.entries(ambiguous))('%s: never sent on', async (_name, rest) => {
  await using shadow = await startProxy({
    options: { limits: { headersTimeoutMs: 300, requestTimeoutMs: 300, checkIntervalMs: 50 } },
  })
  const reply = await sendRaw(
    shadow.origin,
    `POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nConnection: close\r\n${rest}`,
  )
  expect(reply.head).toMatch(/^HTTP\/1\.1 4\d\d/)
  expect(shadow.standIn.seen).toEqual([])
})

test('no request chooses where it is sent', async () => {
  await using shadow = await startProxy()
  await using other = await startProxy()
  const elsewhere = new URL(other.origin).host
  const attempts = [
    chatRequest(hi, [], `${other.origin}/v1/chat/completions`),
    chatRequest(hi, [], `//${elsewhere}/v1/chat/completions`),
    chatRequest(hi, [], `/v1/@${elsewhere}/chat/completions`),
    chatRequest(hi, [
      `X-Forwarded-Host: ${elsewhere}`,
      `Forwarded: host=${elsewhere}`,
      `X-Original-URL: ${other.origin}`,
    ]),
    chatRequest(`{"base_url":"${other.origin}/v1","model":"m","messages":[]}`),
    Buffer.from(`CONNECT ${elsewhere} HTTP/1.1\r\nHost: ${elsewhere}\r\nConnection: close\r\n\r\n`),
  ]
  for (const attempt of attempts) await sendRaw(shadow.origin, attempt)
  expect(other.standIn.seen).toEqual([])
  for (const { rawHeaders } of shadow.standIn.seen) {
    expect(rawHeaders.filter((_, at) => rawHeaders[at - 1]?.toLowerCase() === 'host')).toEqual([
      new URL(shadow.standIn.baseUrl).host,
    ])
  }
})

test('keys stand in no log line, no error and no file', async () => {
  const lines: string[] = []
  const logger = pino(
    { level: 'trace' },
    new Writable({ write: (line, _, done) => (lines.push(String(line)), done()) }),
  )
  const keys = ['sk-agents-own', 'sk-of-the-upstream', 'sk-anthropic-style']
  const answers: ((res: ServerResponse) => void)[] = [
    (res) => res.end(JSON.stringify(completionOf({ role: 'assistant', content: 'ok' }))),
    (res) => res.socket?.destroy(),
    (res) => {
      res.writeHead(401, { 'content-type': 'application/json' })
      res.end('{"error":{"message":"no"}}')
    },
    (res) => {
      res.writeHead(200, { 'content-length': 100 })
      res.write('{')
      setTimeout(() => res.socket?.destroy(), 20)
    },
  ]
  let turn = 0
  await using shadow = await startProxy({
    apiKey: 'sk-of-the-upstream',
    options: { logger },
    answer: (_request, res) => answers[turn++ % answers.length]?.(res),
  })
  const texts: string[] = []
  const headers = ['Authorization: Bearer sk-agents-own', 'X-Api-Key: sk-anthropic-style']
  for (let index = 0; index < answers.length; index++) {
    texts.push(JSON.stringify(await sendRaw(shadow.origin, chatRequest(hi, headers)).catch(messageOf)))
    const passed = await sendRaw(shadow.origin, chatRequest(hi, headers, '/v1/other')).catch(messageOf)
    texts.push(JSON.stringify(passed))
  }
  await shadow.store.close()
  for (const entry of await readdir(shadow.home, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) texts.push((await readFile(join(entry.parentPath, entry.name))).toString('latin1'))
  }
  expect(lines.length).toBeGreaterThan(0)
  for (const key of keys) expect([...lines, ...texts].filter((text) => text.includes(key))).toEqual([])
})
