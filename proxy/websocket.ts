/** WebSockets under `/v1` (`/v1/realtime`): handed on to an upstream and not captured. */
import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { pipeline } from 'node:stream'
import type { UpgradeReply } from '../src/contract/index.ts'
import { messageOf, ShadowError } from '../src/lib/error.ts'
import { admit } from './admission.ts'
import type { ProxyContext } from './context.ts'
import { endToEnd, type Headers, pairsOf, without } from './headers.ts'
import { chooseUpstream, unknownUpstream } from './upstream-choice.ts'

/** Other protocols are offered by clients that are as happy without (`h2c`), and are served as if they hadn't. */
export function isWebSocket(req: IncomingMessage): boolean {
  return req.headers.upgrade?.toLowerCase() === 'websocket'
}

/** Hands on every WebSocket that a server is asked for. @returns those that are open */
export function serveWebSockets(server: Server, context: ProxyContext): ReadonlySet<Duplex> {
  const open = new Set<Duplex>()
  server.on('upgrade', (req: IncomingMessage, socket: Duplex, head: Buffer) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
    socket.on('error', () => socket.destroy())
    void handOn(context, req, socket, head).catch((error: unknown) => {
      const known =
        error instanceof ShadowError
          ? error
          : new ShadowError('internal', `The connection failed: ${messageOf(error)}.`, { cause: error })
      refuse(socket, known)
    })
  })
  return open
}

async function handOn(context: ProxyContext, req: IncomingMessage, socket: Duplex, head: Buffer) {
  const target = admit(context, req)
  if (target === null) {
    throw new ShadowError('not_found', `There is nothing at ${req.url ?? '/'}.`, {
      hint: 'Use /v1/realtime.',
    })
  }
  const sent = pairsOf(req.rawHeaders)
  const model = new URLSearchParams(target.query).get('model') ?? ''
  const question = { task: target.task, dialect: null, modelName: model, headers: sent }
  const { upstream, name, model: own } = chooseUpstream(context, question)
  if (upstream === null) throw unknownUpstream(name, target.task)
  if (upstream.upgrade === undefined) {
    throw new ShadowError('invalid_config', `The upstream ${name} takes no WebSockets.`, {
      hint: 'Check the task’s upstream.',
    })
  }
  context.counts.passedThrough++
  const agent = new AbortController()
  const leave = () => agent.abort(new Error('The agent closed its connection.'))
  socket.once('close', leave)
  const reply = await upstream.upgrade({
    path: target.path + (own === null ? target.query : withModel(target.query, own)),
    headers: [...without(endToEnd(sent), 'host'), ['Connection', 'Upgrade'], ['Upgrade', 'websocket']],
    signal: agent.signal,
  })
  socket.off('close', leave)
  await relay(reply, name, socket, head)
}

/** The query with another model in it, and nothing else changed. */
function withModel(query: string, model: string): string {
  return query.replace(/([?&]model=)[^&]*/, (_all, name: string) => name + encodeURIComponent(model))
}

async function relay(reply: UpgradeReply, name: string, agent: Duplex, head: Buffer): Promise<void> {
  const { status, statusText, headers } = reply
  const served: Headers = [['x-shadow-served-by', name]]
  if (reply.socket === null) {
    // Declined: an ordinary reply, after which the connection ends.
    const kept: Headers = [
      ...without(endToEnd(headers), 'content-length'),
      ...served,
      ['connection', 'close'],
    ]
    agent.write(headText(status, statusText, kept))
    pipeline(reply.body, agent, () => agent.destroy())
    return
  }
  agent.write(headText(status, statusText, [...headers, ...served]))
  if (reply.rest.length > 0) agent.write(reply.rest)
  if (head.length > 0) reply.socket.write(head)
  const upstream = reply.socket
  const end = () => {
    agent.destroy()
    upstream.destroy()
  }
  upstream.on('error', end)
  upstream.once('close', end)
  agent.once('close', end)
  upstream.pipe(agent)
  agent.pipe(upstream)
}

function refuse(socket: Duplex, error: ShadowError): void {
  if (socket.destroyed) return
  const body = JSON.stringify(error.toOpenAI())
  const headers: Headers = [
    ['content-type', 'application/json'],
    ['content-length', String(Buffer.byteLength(body))],
    ['connection', 'close'],
  ]
  socket.end(Buffer.concat([headText(error.httpStatus, 'Error', headers), Buffer.from(body)]))
}

function headText(status: number, text: string, headers: Headers): Buffer {
  const lines = [`HTTP/1.1 ${status} ${text}`, ...headers.map(([name, value]) => `${name}: ${value}`)]
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
}
