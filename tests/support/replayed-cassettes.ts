/**
 * Recorded exchanges with real providers, replayed through the proxy: a stand-in answers what the recording
 * holds, and what the agent gets is compared with what the stand-in sent, byte by byte. Where the recordings
 * aren't there, a few of the same kind are made.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { headerOf, pairsOf } from '../../proxy/headers.ts'
import { dialectOf } from '../../src/dialects/index.ts'
import { startProxy } from './proxy.ts'
import { sendRaw, startRawUpstream } from './raw-http.ts'

const headers = z.record(z.string(), z.array(z.string()))
const cassette = z.object({
  interactions: z.array(
    z.object({
      request: z.looseObject({
        headers,
        method: z.string(),
        uri: z.string(),
        parsed_body: z.unknown().optional(),
        body: z.unknown().optional(),
      }),
      response: z.looseObject({
        headers,
        parsed_body: z.unknown().optional(),
        body: z.looseObject({ string: z.string() }).optional(),
        status: z.object({ code: z.number(), message: z.string() }),
      }),
    }),
  ),
})

interface Exchange {
  name: string
  path: string
  request: { headers: [string, string][]; body: string }
  /** Head and body as they go over the wire. */
  response: { status: number; headers: [string, string][]; body: Buffer }
}

/** Set by the transport itself, of the recording or of the replay. */
const ofTransport = new Set([
  'connection',
  'content-length',
  'content-encoding',
  'transfer-encoding',
  'host',
  'accept-encoding',
  'keep-alive',
])

const own = (each: Record<string, string[]>) =>
  Object.entries(each).flatMap(([name, values]) =>
    ofTransport.has(name.toLowerCase()) ? [] : values.map((value): [string, string] => [name, value]),
  )

function recorded(folder: string): Exchange[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.yaml'))
    .flatMap((name) => {
      // Recordings write big integers as integers, which only bigints keep.
      const { interactions } = cassette.parse(parse(readFileSync(join(folder, name), 'utf8')))
      return interactions.map(({ request, response }, place) => {
        const path = `/v1${new URL(request.uri).pathname.replace(/^(?:\/openai)?(?:\/api)?(?:\/v1)?/, '')}${new URL(request.uri).search}`
        const body = request.parsed_body ?? request.body
        const text = response.body?.string
        return {
          name: `${name} ${place}`,
          path,
          request: {
            headers: own(request.headers),
            body: typeof body === 'string' ? body : JSON.stringify(body),
          },
          response: {
            status: response.status.code,
            headers: own(response.headers),
            body: Buffer.from(text ?? JSON.stringify(response.parsed_body ?? {})),
          },
        }
      })
    })
}

function generated(): Exchange[] {
  const make = (path: string, request: object, response: object | string): Exchange => ({
    name: path,
    path,
    request: { headers: [['content-type', 'application/json']], body: JSON.stringify(request, null, 1) },
    response: {
      status: 200,
      headers: [
        [
          'content-type',
          typeof response === 'string' ? 'text/event-stream; charset=utf-8' : 'application/json',
        ],
        ['x-request-id', 'req_1'],
        ['set-cookie', 'a=1'],
        ['set-cookie', 'b=2'],
      ],
      body: Buffer.from(typeof response === 'string' ? response : JSON.stringify(response)),
    },
  })
  const said = [{ role: 'user', content: 'hé 🙂' }]
  return [
    make(
      '/v1/chat/completions',
      { model: 'm', messages: said },
      { choices: [{ message: { role: 'assistant', content: 'a' } }] },
    ),
    make('/v1/responses', { model: 'm', input: said }, { id: 'resp_1', status: 'completed', output: [] }),
    make(
      '/v1/messages?beta=true',
      { model: 'm', messages: said, max_tokens: 1 },
      { role: 'assistant', content: [] },
    ),
    make(
      '/v1/messages',
      { model: 'm', messages: said, stream: true },
      'event: ping\r\ndata: {"type": "ping"}\r\n\r\n: x\n\n',
    ),
    make('/v1/responses/compact', { model: 'm', input: said }, { output: [] }),
  ]
}

function exchanges(): { source: 'recorded' | 'generated'; all: Exchange[] } {
  const folder = join(import.meta.dirname, '../../../shared/data/http-cassettes')
  return existsSync(folder)
    ? { source: 'recorded', all: recorded(folder) }
    : { source: 'generated', all: generated() }
}

function head(first: string, lines: readonly (readonly [string, string])[]): string {
  return `${[first, ...lines.map(([name, value]) => `${name}: ${value}`)].join('\r\n')}\r\n\r\n`
}

/** What a replay found: names of exchanges. */
export interface ReplayedCassettes {
  source: 'recorded' | 'generated'
  exchanges: number
  captured: number
  /** The client didn't get the bytes and headers that the stand-in sent, or the stand-in not the client's body. */
  different: string[]
  /** The request body on record isn't the one that was sent, byte for byte. */
  notRebuilt: string[]
  /** The record has no messages, or a whole reply is missing. */
  notRead: string[]
}

export async function replayCassettes(): Promise<ReplayedCassettes> {
  let answer: Exchange['response'] | null = null
  let seen = ''
  await using upstream = await startRawUpstream((socket, request) => {
    seen = request
    if (answer === null) return
    const lines = [...answer.headers, ['content-length', String(answer.body.length)] as const]
    socket.write(Buffer.from(head(`HTTP/1.1 ${answer.status} Recorded`, lines), 'latin1'))
    // In pieces that end anywhere, as a network would cut them.
    const middle = Math.floor(answer.body.length / 3)
    socket.write(answer.body.subarray(0, middle))
    setImmediate(() => socket.write(answer?.body.subarray(middle) ?? ''))
  })
  await using shadow = await startProxy({ baseUrl: upstream.baseUrl })
  const different: string[] = []
  const notRebuilt: string[] = []
  const notRead: string[] = []
  let captured = 0
  const { source, all } = exchanges()
  for (const { name, path, request, response } of all) {
    answer = response
    const body = Buffer.from(request.body)
    const lines = [
      ['Host', 'shadow.test'],
      ['Connection', 'close'],
      ['Content-Length', String(body.length)],
      ...request.headers,
    ] as const
    const sent = Buffer.concat([
      Buffer.from(
        head(
          `POST ${path} HTTP/1.1`,
          lines.map(([key, value]) => [key ?? '', value ?? ''] as const),
        ),
        'latin1',
      ),
      body,
    ])
    const reply = await sendRaw(shadow.origin, sent)
    const got = reply.head
      .split('\r\n')
      .slice(1)
      .flatMap((line) => {
        const colon = line.indexOf(': ')
        return [line.slice(0, colon), line.slice(colon + 2)]
      })
    const pairs = pairsOf(got)
    const passed = pairs.filter(
      ([key]) => !key.startsWith('x-shadow-') && !ofTransport.has(key.toLowerCase()),
    )
    const isEqual =
      reply.body.equals(response.body) &&
      reply.head.startsWith(`HTTP/1.1 ${response.status} `) &&
      JSON.stringify(passed) === JSON.stringify(response.headers) &&
      seen.endsWith(body.toString('latin1'))
    if (!isEqual) different.push(name)
    const dialect = dialectOf('POST', path.replace(/^\/v1|\?.*$/g, ''))
    const id = headerOf(pairs, 'x-shadow-call')
    if (dialect === undefined || id === null) continue
    captured++
    if (!body.equals(await shadow.reader.requestBytes(id))) notRebuilt.push(name)
    const call = await shadow.reader.readCall(id)
    const isWhole = response.status !== 200 || response.body.length < 300 || call.replies.length > 0
    if (call.messages.length === 0 || !isWhole) notRead.push(name)
  }
  return { source, exchanges: all.length, captured, different, notRebuilt, notRead }
}
