/** The yardstick: the plainest relay there is, node:http in and undici out. It keeps nothing. */
import { createServer } from 'node:http'
import { Pool } from 'undici'
import { announce } from './announce.ts'

const base = new URL(process.env['BENCH_UPSTREAM'] ?? '')
const pool = new Pool(base.origin)

const server = createServer({ keepAliveTimeout: 60_000 }, (req, res) => {
  const { host: _, connection: __, ...headers } = req.headers
  pool.request({ path: req.url ?? '/', method: 'POST', headers, body: req }, (error, reply) => {
    if (error !== null) {
      res.destroy(error)
      return
    }
    const { connection: ___, 'keep-alive': ____, ...replyHeaders } = reply.headers
    res.writeHead(reply.statusCode, replyHeaders)
    reply.body.pipe(res)
  })
})
announce(server)
