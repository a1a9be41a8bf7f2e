/** `/v1/realtime`: switched, handed on byte for byte both ways, and not captured. */
import { createServer, type IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { expect, test, vi } from 'vitest'
import { createHttpUpstream } from '../../proxy/http-upstream.ts'
import { startProxy } from '../support/proxy.ts'
import { sendRaw } from '../support/raw-http.ts'

const patience = { timeout: 15_000 }

/** Says a word at once, and then everything that it is told, until it is told to go. */
async function startEcho() {
  const seen: IncomingMessage[] = []
  const sockets = new Set<Duplex>()
  const server = createServer((_req, res) => res.writeHead(426, { 'x-why': 'no socket' }).end('upgrade'))
  server.on('upgrade', (req: IncomingMessage, socket: Duplex, head: Buffer) => {
    seen.push(req)
    sockets.add(socket)
    socket.on('error', () => {})
    if (req.url?.includes('declined') === true) {
      socket.end('HTTP/1.1 403 Forbidden\r\nX-Why: no key\r\nContent-Length: 2\r\n\r\nno')
      return
    }
    socket.write(
      Buffer.from(
        'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-Odd: caf\xe9\r\n\r\nwelcome',
        'latin1',
      ),
    )
    const echo = (chunk: Buffer) => (chunk.includes('go') ? socket.destroy() : socket.write(chunk))
    if (head.length > 0) echo(head)
    socket.on('data', echo)
    socket.on('end', () => socket.end())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    seen,
    sockets,
    baseUrl: `http://127.0.0.1:${port}/v1`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

const upgrade = (path: string, after = '') =>
  Buffer.from(
    `GET ${path} HTTP/1.1\r\nHost: shadow.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc==\r\nSec-WebSocket-Protocol: realtime, openai-insecure-api-key.sk\r\n\r\n${after}`,
  )

function dial(origin: string, path: string, first: string) {
  const socket: Socket = connect(Number(new URL(origin).port), '127.0.0.1', () =>
    socket.write(upgrade(path, first)),
  )
  const line = { socket, text: '', isClosed: false }
  socket.on('data', (chunk: Buffer) => {
    line.text += chunk.toString('latin1')
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    line.isClosed = true
  })
  return line
}

test('bytes go both ways as they are, and either side’s end is the other’s', async () => {
  await using upstream = await startEcho()
  await using shadow = await startProxy({ baseUrl: upstream.baseUrl })
  const binary = '\x82\x03\x00\xff\xfe'
  const line = dial(shadow.origin, '/v1/realtime?model=rt&x=a%20b', 'early ')
  await vi.waitFor(() => expect(line.text).toContain('welcomeearly '), patience)
  line.socket.write(Buffer.from(binary, 'latin1'))
  await vi.waitFor(() => expect(line.text.endsWith(`welcomeearly ${binary}`)).toBe(true), patience)
  expect(line.text).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\n/)
  expect(line.text).toContain('X-Odd: caf\xe9\r\n')
  expect(line.text).toContain('x-shadow-served-by: frontier\r\n')
  expect(upstream.seen[0]?.url).toBe('/v1/realtime?model=rt&x=a%20b')
  expect(upstream.seen[0]?.headers).toMatchObject({
    'sec-websocket-key': 'abc==',
    'sec-websocket-protocol': 'realtime, openai-insecure-api-key.sk',
    host: new URL(upstream.baseUrl).host,
  })
  line.socket.write('go')
  await vi.waitFor(() => expect(line.isClosed).toBe(true), patience)

  const other = dial(shadow.origin, '/v1/realtime', '')
  await vi.waitFor(() => expect(other.text).toContain('welcome'), patience)
  other.socket.destroy()
  await vi.waitFor(() => expect([...upstream.sockets].at(-1)?.destroyed).toBe(true), patience)
  expect((await shadow.reader.stats()).calls).toBe(0)
})

test('an upstream that declines is heard, one that is down is said so', async () => {
  await using upstream = await startEcho()
  await using shadow = await startProxy({ baseUrl: upstream.baseUrl })
  const declined = await sendRaw(shadow.origin, upgrade('/v1/realtime?model=declined'))
  expect(declined.head).toMatch(/^HTTP\/1\.1 403 Forbidden\r\nX-Why: no key\r\n/)
  expect(declined.body.toString()).toBe('no')
  await using nobody = await startProxy({ baseUrl: 'http://127.0.0.1:1/v1' })
  const lost = await sendRaw(nobody.origin, upgrade('/v1/realtime'))
  expect(lost.head).toContain('502')
  expect(lost.body.toString()).toContain('upstream_unreachable')
})

test('a model’s name chooses the upstream, which sees its own name of the model', async () => {
  await using upstream = await startEcho()
  const second = createHttpUpstream({ name: 'second', baseUrl: upstream.baseUrl })
  await using shadow = await startProxy({ options: { upstreams: new Map([['second', second]]) } })
  const line = dial(shadow.origin, '/v1/realtime?a=1&model=second%2Fbig/one&b=%20', '')
  await vi.waitFor(() => expect(line.text).toContain('welcome'), patience)
  expect(line.text).toContain('x-shadow-served-by: second\r\n')
  expect(upstream.seen[0]?.url).toBe('/v1/realtime?a=1&model=big%2Fone&b=%20')
  line.socket.destroy()
  await vi.waitFor(() => expect([...upstream.sockets].at(-1)?.destroyed).toBe(true), patience)
  await second.close()
})
