/** The proxy's HTTP server: agents' calls go straight to their handlers, everything else to the Hono app. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { getRequestListener } from '@hono/node-server'
import type { Hono } from 'hono'
import { dialectOf } from '../src/dialects/index.ts'
import { messageOf, ShadowError } from '../src/lib/error.ts'
import { handleCapturedCall } from './captured-call.ts'
import { admit } from './admission.ts'
import type { ProxyContext } from './context.ts'
import { handleModels } from './models.ts'
import { handlePassThrough } from './pass-through.ts'
import { sendError } from './reply-writer.ts'
import { refuseBody } from './request-body.ts'
import { type Target, targetOf } from './target.ts'
import { isWebSocket, serveWebSockets } from './websocket.ts'

export interface Listening {
  readonly host: string
  readonly port: number
  /** Stops accepting, lets calls in flight end for at most `drainMs` (default 10 s), then cuts them. */
  close(drainMs?: number): Promise<void>
}

export interface ProxyServer {
  readonly server: Server
  /** Connections that were handed on; the server no longer knows them. */
  readonly webSockets: ReadonlySet<Duplex>
}

/**
 * Agents' requests bypass Hono because web Requests and Headers can't carry them unchanged: they fold, lower
 * and reorder header names, and refuse some of the bytes that occur in practice. It is also where the time goes.
 */
export function createProxyServer(context: ProxyContext, app: Hono): ProxyServer {
  const others = getRequestListener(app.fetch)
  const { limits } = context
  const dispatch = (req: IncomingMessage, res: ServerResponse) => {
    let target: Target | null
    try {
      target = admit(context, req)
    } catch (error) {
      sendError(res, asShadowError(error))
      return
    }
    if (target === null) void others(req, res)
    else void handle(context, target, req, res)
  }
  const server = createServer(
    {
      // Longer than the pools of common clients keep theirs, so that the client is the one who closes.
      keepAliveTimeout: 75_000,
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      connectionsCheckingInterval: limits.checkIntervalMs,
      shouldUpgradeCallback: isWebSocket,
    },
    dispatch,
  )
  // Who asks before sending is told before sending.
  server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => {
    if (!isTooLong(req, limits.requestBytes)) res.writeContinue()
    dispatch(req, res)
  })
  return { server, webSockets: serveWebSockets(server, context) }
}

/** Whether it will be refused for what it says of its body. */
function isTooLong({ method = '', url = '', headers }: IncomingMessage, maxBytes: number): boolean {
  if (Number(headers['content-length'] ?? 0) <= maxBytes) return false
  try {
    return dialectOf(method, targetOf(url)?.path ?? '') !== undefined
  } catch {
    return false
  }
}

async function handle(context: ProxyContext, target: Target, req: IncomingMessage, res: ServerResponse) {
  context.counts.inFlight++
  const start = performance.now()
  try {
    const method = req.method ?? 'GET'
    const dialect = dialectOf(method, target.path)
    if (dialect !== undefined) await handleCapturedCall(context, dialect, target, req, res)
    else if (method === 'GET' && target.path === '/models') await handleModels(context, target, req, res)
    else await handlePassThrough(context, target, req, res)
  } catch (error) {
    const known = asShadowError(error)
    if (known.code === 'too_large' && !res.headersSent) {
      refuseBody(req, res, known)
      return
    }
    context.logger.error({ error: messageOf(error), path: target.path }, 'a request failed inside the proxy')
    sendError(res, known)
  } finally {
    context.counts.inFlight--
    context.durations.add((performance.now() - start) / 1000)
  }
}

function asShadowError(error: unknown): ShadowError {
  if (error instanceof ShadowError) return error
  return new ShadowError('internal', `Shadow failed to handle this request: ${messageOf(error)}.`, {
    hint: 'The server’s log says more.',
    cause: error,
  })
}

/** @throws ShadowError port_in_use */
export async function listen(made: ProxyServer, port: number, host: string): Promise<Listening> {
  const { server } = made
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(cannotListen(error, port, host)))
    server.listen(port, host, resolve)
  })
  const address = server.address()
  return {
    host,
    port: isAddressInfo(address) ? address.port : port,
    close: (drainMs) => drain(made, drainMs),
  }
}

async function drain({ server, webSockets }: ProxyServer, drainMs = 10_000): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeIdleConnections()
  const timer = setTimeout(() => {
    server.closeAllConnections()
    for (const socket of webSockets) socket.destroy()
  }, drainMs)
  await closed
  clearTimeout(timer)
}

function cannotListen(error: Error, port: number, host: string): ShadowError {
  if ('code' in error && error.code === 'EADDRINUSE') {
    return new ShadowError('port_in_use', `Port ${port} on ${host} is already in use.`, {
      hint: 'Stop what runs there, or choose another port with --port.',
      cause: error,
    })
  }
  return new ShadowError('invalid_config', `Can't listen on ${host}:${port}: ${messageOf(error)}.`, {
    hint: 'Choose another host or port.',
    cause: error,
  })
}

function isAddressInfo(address: string | AddressInfo | null): address is AddressInfo {
  return typeof address === 'object' && address !== null
}
