/** HTTP over a bare socket, for what an HTTP library would tidy up. */
import { connect, createServer, type Socket } from 'node:net'

export interface RawReply {
  /** Bytes as latin1. */
  head: string
  body: Buffer
  /** Whether the peer ended the connection properly. */
  ended: boolean
}

/** Sends bytes and collects what comes until the connection closes. */
export function sendRaw(origin: string, request: string | Buffer): Promise<RawReply> {
  const { port } = new URL(origin)
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), '127.0.0.1', () => socket.write(request))
    const chunks: Buffer[] = []
    let ended = false
    socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    socket.on('end', () => {
      ended = true
    })
    socket.on('error', reject)
    socket.on('close', () => {
      const all = Buffer.concat(chunks)
      const end = all.indexOf('\r\n\r\n')
      resolve({ head: all.toString('latin1', 0, end), body: all.subarray(end + 4), ended })
    })
  })
}

/** An upstream that answers with exactly these bytes, and shows the bytes it was sent. */
export async function startRawUpstream(answer: (socket: Socket, request: string) => void) {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    let request = ''
    socket.on('data', (chunk: Buffer) => {
      request += chunk.toString('latin1')
      const end = request.indexOf('\r\n\r\n')
      const length = Number(/content-length: (\d+)/i.exec(request)?.[1] ?? 0)
      if (end === -1 || request.length < end + 4 + length) return
      const whole = request
      request = ''
      answer(socket, whole)
    })
    socket.on('error', () => {})
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

/** A request to a chat completion as bytes, closing the connection behind it. */
export function chatRequest(
  body: string,
  headers: readonly string[] = [],
  path = '/v1/chat/completions',
): Buffer {
  const bytes = Buffer.from(body)
  const head = [
    `POST ${path} HTTP/1.1`,
    'Host: shadow.test',
    'Connection: close',
    'Content-Type: application/json',
    `Content-Length: ${bytes.length}`,
    ...headers,
  ]
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'), bytes])
}
