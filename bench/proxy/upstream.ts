/** The stand-in upstream of the benchmark, a process of its own: one short reply, always the same. */
import { createServer } from 'node:http'
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

const server = createServer({ keepAliveTimeout: 60_000 }, (req, res) => {
  req.resume()
  req.on('end', () => {
    res.writeHead(200, { 'content-type': 'application/json', 'content-length': reply.length })
    res.end(reply)
  })
})
announce(server)
