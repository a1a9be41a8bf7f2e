/** A stand-in upstream that fails in every way that upstreams do, and agents that go on asking it. */
import { createServer, type Server, type Socket } from 'node:net'
import { seededRandom } from '../../src/lib/random.ts'
import { completionOf, streamOf } from './stand-in-upstream.ts'

/** What the upstream does with a request, and how its call has to be recorded. */
export const faults = {
  answer: 'complete',
  stream: 'complete',
  resetBeforeHead: 'upstream_error',
  resetInStream: 'truncated',
  /** Ends properly, in the middle of a line. */
  halfLine: 'truncated',
  /** Falls silent in the middle. */
  stall: 'truncated',
  shortBody: 'truncated',
  rateLimited: 'upstream_error',
  serverError: 'upstream_error',
  garbage: 'upstream_error',
} as const
export type Fault = keyof typeof faults

const json = (body: string, status = '200 OK', headers = '') =>
  `HTTP/1.1 ${status}\r\nx-stand-in: not a real model\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n${headers}\r\n${body}`
const chunked = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
const streamHead =
  'HTTP/1.1 200 OK\r\nx-stand-in: not a real model\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n'
const events = streamOf('one two three').map((data) => `data: ${data}\n\n`)
const beginning = events.slice(0, 5).join('')

function fail(socket: Socket, fault: Fault): void {
  const answer = JSON.stringify(completionOf({ role: 'assistant', content: 'well' }))
  switch (fault) {
    case 'answer':
      socket.write(json(answer))
      return
    case 'stream':
      socket.write(streamHead + chunked(events.join('')) + chunked('data: [DONE]\n\n') + '0\r\n\r\n')
      return
    case 'resetBeforeHead':
      socket.resetAndDestroy()
      return
    case 'resetInStream':
      socket.write(streamHead + chunked(beginning), () => setTimeout(() => socket.resetAndDestroy(), 5))
      return
    case 'halfLine':
      socket.write(streamHead + chunked(beginning) + chunked('data: {"id":"chat') + '0\r\n\r\n')
      return
    case 'stall':
      socket.write(streamHead + chunked(beginning))
      return
    case 'shortBody':
      socket.write(json(answer).slice(0, -20), () => setTimeout(() => socket.destroy(), 5))
      return
    case 'rateLimited':
      socket.write(json('{"error":{"message":"slow down"}}', '429 Too Many Requests', 'retry-after: 7\r\n'))
      return
    case 'serverError':
      socket.write(json('{"error":{"message":"overloaded"}}', '503 Service Unavailable'))
      return
    case 'garbage':
      socket.end('\x16\x03\x01\x00\xffthis is no HTTP at all\r\n\r\n')
  }
}

/** The request says in its model which fault it wants. */
export async function startFaultyUpstream() {
  const sockets = new Set<Socket>()
  const server: Server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    let request = ''
    socket.on('data', (bytes: Buffer) => {
      request += bytes.toString('latin1')
      const end = request.indexOf('\r\n\r\n')
      const length = Number(/content-length: (\d+)/i.exec(request)?.[1] ?? 0)
      if (end === -1 || request.length < end + 4 + length) return
      const wanted = /"model":"(\w+)"/.exec(request)?.[1] ?? 'answer'
      request = ''
      fail(socket, isFault(wanted) ? wanted : 'answer')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    baseUrl: `http://127.0.0.1:${port}/v1`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

export interface Asked {
  readonly fault: Fault
  readonly call: string | null
  /** What the agent saw: a status, and whether its body came to its end. */
  readonly status: number | null
  readonly ended: boolean
  readonly retryAfter: string | null
}

/** `count` requests of random faults by `clients` agents at once. */
export async function askFaultyUpstream(
  origin: string,
  count: number,
  clients: number,
  seed: number,
): Promise<Asked[]> {
  const random = seededRandom(seed)
  const names = Object.keys(faults).filter(isFault)
  const wanted = Array.from({ length: count }, () => names[Math.floor(random() * names.length)] ?? 'answer')
  const asked: Asked[] = []
  await Promise.all(
    Array.from({ length: clients }, async () => {
      for (let fault = wanted.pop(); fault !== undefined; fault = wanted.pop()) {
        asked.push(await ask(origin, fault, count - wanted.length))
      }
    }),
  )
  return asked
}

async function ask(origin: string, fault: Fault, number: number): Promise<Asked> {
  const body = JSON.stringify({
    model: fault,
    stream: /stream|stall|half/i.test(fault),
    messages: [{ role: 'user', content: `${fault} ${number}` }],
  })
  let reply: Response
  try {
    reply = await fetch(`${origin}/v1/chat/completions`, { method: 'POST', body })
  } catch {
    return { fault, call: null, status: null, ended: false, retryAfter: null }
  }
  const ended = await reply.arrayBuffer().then(
    () => true,
    () => false,
  )
  const { status, headers } = reply
  return { fault, call: headers.get('x-shadow-call'), status, ended, retryAfter: headers.get('retry-after') }
}

function isFault(name: string): name is Fault {
  return Object.hasOwn(faults, name)
}
