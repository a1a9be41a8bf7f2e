/**
 * A stand-in for a frontier API, for tests: a real HTTP server whose answers the test decides. It says that it
 * is one in the header `x-stand-in` of every reply.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

export interface SeenRequest {
  method: string
  url: string
  rawHeaders: string[]
  body: Buffer
}

export type Answer = (request: SeenRequest, res: ServerResponse, req: IncomingMessage) => void | Promise<void>

export interface StandInUpstream {
  /** With `/v1`. */
  readonly baseUrl: string
  readonly seen: SeenRequest[]
  /** Decides the replies from now on. */
  answer: Answer
  close(): Promise<void>
}

export async function startStandIn(answer: Answer = replyWith(() => 'Hello!')): Promise<StandInUpstream> {
  const seen: SeenRequest[] = []
  const sockets = new Set<Socket>()
  const standIn = { baseUrl: '', seen, answer, close }
  const server = createServer((req, res) => {
    const chunks: Buffer[] = []
    req.on('data', (chunk: Buffer) => chunks.push(chunk))
    req.on('end', () => {
      const request = {
        method: req.method ?? '',
        url: req.url ?? '',
        rawHeaders: req.rawHeaders,
        body: Buffer.concat(chunks),
      }
      seen.push(request)
      res.setHeader('x-stand-in', 'not a real model')
      void standIn.answer(request, res, req)
    })
  })
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  standIn.baseUrl = `http://127.0.0.1:${port}/v1`
  async function close() {
    for (const socket of sockets) socket.destroy()
    await new Promise<void>((resolve) => server.close(() => resolve()))
  }
  return standIn
}

export interface RequestBody {
  model?: string
  stream?: boolean
  messages: { role: string; content?: unknown; tool_calls?: unknown }[]
}

/** A whole chat completion, or a stream of it where the request asks for one. */
export function replyWith(contentOf: (body: RequestBody, request: SeenRequest) => string): Answer {
  return (request, res) => {
    const body: RequestBody = JSON.parse(request.body.toString('utf8'))
    const content = contentOf(body, request)
    if (body.stream === true) {
      res.writeHead(200, { 'content-type': 'text/event-stream' })
      for (const data of streamOf(content, body.model)) res.write(`data: ${data}\n\n`)
      res.end('data: [DONE]\n\n')
      return
    }
    const reply = Buffer.from(JSON.stringify(completionOf({ role: 'assistant', content }, body.model)))
    res.writeHead(200, { 'content-type': 'application/json', 'content-length': reply.length })
    res.end(reply)
  }
}

export function completionOf(message: object, model = 'stand-in', finishReason = 'stop') {
  return {
    id: 'chatcmpl-stand-in',
    object: 'chat.completion',
    created: 1,
    model,
    choices: [{ index: 0, message, logprobs: null, finish_reason: finishReason }],
    usage: { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 },
  }
}

export function streamOf(content: string, model = 'stand-in'): string[] {
  const head = { id: 'chatcmpl-stand-in', object: 'chat.completion.chunk', created: 1, model }
  const chunk = (delta: object, finishReason: string | null = null) =>
    JSON.stringify({ ...head, choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }] })
  return [
    chunk({ role: 'assistant', content: '' }),
    ...Array.from(content).map((piece) => chunk({ content: piece })),
    chunk({}, 'stop'),
    JSON.stringify({
      ...head,
      choices: [],
      usage: { prompt_tokens: 5, completion_tokens: 2, total_tokens: 7 },
    }),
  ]
}
