/**
 * A stand-in for a Hugging Face hub: a real HTTP server with the three endpoints that a pull needs. It says that it is
 * one in the header `x-stand-in` of every reply.
 */
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

export interface HubFileSpec {
  readonly bytes: Uint8Array
  /** Listed instead of the true one. */
  readonly sha256?: string
  /** Listed instead of the true one. */
  readonly size?: number
  /** Small files are listed with git's hash. */
  readonly small?: boolean
}

export interface StandInHub extends AsyncDisposable {
  readonly url: string
  /** Method, path, range and token of each request. */
  readonly seen: { path: string; range: string | undefined; token: string | undefined }[]
  readonly files: Map<string, HubFileSpec>
  sha: string
  /** Without it every request is refused. */
  token: string | null
  /** Breaks the connection after this many bytes of a file, as often as the list is long. */
  readonly cutAfter: number[]
  /** Sends whole files whatever is asked for. */
  ignoresRanges: boolean
  /** Bytes a second for files; null: as fast as it goes. */
  bytesPerSecond: number | null
}

export async function startStandInHub(id: string, files: Record<string, Uint8Array>): Promise<StandInHub> {
  const sockets = new Set<Socket>()
  const server = createServer((req, res) => void answer(req, res))
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const hub: StandInHub = {
    url: `http://127.0.0.1:${port}`,
    seen: [],
    files: new Map(Object.entries(files).map(([name, bytes]) => [name, { bytes }])),
    sha: 'a'.repeat(40),
    token: null,
    cutAfter: [],
    ignoresRanges: false,
    bytesPerSecond: null,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }

  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const path = decodeURIComponent(new URL(req.url ?? '/', hub.url).pathname)
    const { range, authorization } = req.headers
    hub.seen.push({ path, range, token: authorization?.replace('Bearer ', '') })
    res.setHeader('x-stand-in', 'not a real hub')
    if (hub.token !== null && authorization !== `Bearer ${hub.token}`)
      return json(res, 401, { error: 'gated' })
    if (path === `/api/models/${id}/revision/HEAD`) return json(res, 200, { _id: 'x', id, sha: hub.sha })
    if (path === `/api/models/${id}/tree/${hub.sha}`) return json(res, 200, listing())
    const name = path.startsWith(`/${id}/resolve/${hub.sha}/`) ? path.split('/').at(-1) : undefined
    const file = name === undefined ? undefined : hub.files.get(name)
    if (file === undefined) return json(res, 404, { error: 'not found' })
    await sendFile(res, Buffer.from(file.bytes), range)
  }

  function listing(): unknown[] {
    return [...hub.files].map(([path, { bytes, sha256, small, size = bytes.length }]) => {
      const oid = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex')
      const lfs = { oid: sha256 ?? createHash('sha256').update(bytes).digest('hex'), size, pointerSize: 130 }
      return { type: 'file', path, size, oid, ...(small !== true && { lfs }) }
    })
  }

  async function sendFile(res: ServerResponse, bytes: Buffer, range: string | undefined): Promise<void> {
    const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? []
    const isProbe = range === 'bytes=0-0'
    const ranged = from !== undefined && (isProbe || !hub.ignoresRanges)
    const start = ranged ? Number(from) : 0
    const end = ranged && to ? Number(to) + 1 : bytes.length
    const part = bytes.subarray(start, end)
    res.writeHead(ranged ? 206 : 200, {
      etag: '"x"',
      'content-length': part.length,
      ...(ranged && { 'content-range': `bytes ${start}-${end - 1}/${bytes.length}` }),
    })
    const cut = isProbe ? undefined : hub.cutAfter.shift()
    if (cut !== undefined) {
      res.write(part.subarray(0, cut), () => res.destroy())
      return
    }
    if (hub.bytesPerSecond === null || isProbe) {
      res.end(part)
      return
    }
    const step = Math.max(1, Math.floor(hub.bytesPerSecond / 20))
    for (let at = 0; at < part.length && !res.destroyed; at += step) {
      res.write(part.subarray(at, at + step))
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    res.end()
  }
  return hub
}

function json(res: ServerResponse, status: number, body: unknown): void {
  res.writeHead(status, { 'content-type': 'application/json' })
  res.end(JSON.stringify(body))
}
