/**
 * The stand-in upstream of the benchmark, a process of its own: one short reply, always the same, or a stream of
 * 200 chunks where the body asks for one, as fast as it can or, for the model `paced`, one a millisecond. A header wouldn't
 * do to ask for that: Portkey passes on none that it doesn't know.
 */
import { createServer, type ServerResponse } from 'node:http'
import { announce } from './announce.ts'

const reply = Buffer.from(
  JSON.stringify({
    id: 'chatcmpl-stand-in',
    object: 'chat.completion',
    created: 1,
    model: 'stand-in',
    choices: [
      { index: 0, message: { role: 'assistant', content: 'A short answer.' }, finish_reason: 'stop' },
    ],
    usage: { prompt_tokens: 50, completion_tokens: 4, total_tokens: 54 },
  }),
)

const chunks = [
  ...Array.from({ length: 199 }, (_, place) => chunk({ content: ` word${place}` }, null)),
  chunk({}, 'stop'),
]
const done = Buffer.from('data: [DONE]\n\n')

function chunk(delta: object, finishReason: string | null): Buffer {
  const head = { id: 'chatcmpl-stand-in', object: 'chat.completion.chunk', created: 1, model: 'stand-in' }
  const choices = [{ index: 0, delta, finish_reason: finishReason }]
  return Buffer.from(`data: ${JSON.stringify({ ...head, choices })}\n\n`)
}

const server = createServer({ keepAliveTimeout: 60_000 }, (req, res) => {
  let isStream = false
  let isPaced = false
  req.on('data', (bytes: Buffer) => {
    isStream ||= bytes.includes('"stream":true')
    isPaced ||= bytes.includes('"model":"paced"')
  })
  req.on('end', () => {
    if (isStream) {
      res.writeHead(200, { 'content-type': 'text/event-stream' })
      send(res, 0, isPaced ? (next) => setTimeout(next, 1) : setImmediate)
      return
    }
    res.writeHead(200, { 'content-type': 'application/json', 'content-length': reply.length })
    res.end(reply)
  })
})
announce(server)

/** A chunk at a time. */
function send(res: ServerResponse, place: number, later: (next: () => void) => unknown): void {
  const next = chunks[place]
  if (next === undefined) {
    res.end(done)
    return
  }
  res.write(next)
  later(() => send(res, place + 1, later))
}
