/** A request's body, up to a limit beyond which nothing more of it is read. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { promisify } from 'node:util'
import { brotliDecompress, gunzip, inflate, zstdDecompress } from 'node:zlib'
import { ShadowError } from '../src/lib/error.ts'

/** Milliseconds for which what a client goes on sending is thrown away, so that it gets to read the refusal. */
const lingerMs = 500

/** @throws ShadowError too_large when the request says itself that its body is longer */
export function checkDeclaredLength(req: IncomingMessage, maxBytes: number): void {
  if (Number(req.headers['content-length'] ?? 0) > maxBytes) throw tooLarge(maxBytes)
}

/**
 * Null when the agent went away before the end.
 * @throws ShadowError too_large as soon as more than `maxBytes` have come
 */
export async function readBody(req: IncomingMessage, maxBytes: number): Promise<Buffer | null> {
  checkDeclaredLength(req, maxBytes)
  const chunks: Buffer[] = []
  let bytes = 0
  return new Promise((resolve, reject) => {
    const take = (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes <= maxBytes) {
        chunks.push(chunk)
        return
      }
      req.off('data', take)
      chunks.length = 0
      reject(tooLarge(maxBytes))
    }
    req.on('data', take)
    req.once('end', () => resolve(chunks.length === 1 ? (chunks[0] ?? null) : Buffer.concat(chunks)))
    req.once('error', () => resolve(null))
    req.once('close', () => resolve(null))
  })
}

type Decode = (body: Buffer, options: { maxOutputLength: number }) => Promise<Buffer>

const decoders = new Map<string, Decode>([
  ['gzip', promisify(gunzip)],
  ['x-gzip', promisify(gunzip)],
  ['deflate', promisify(inflate)],
  ['br', promisify(brotliDecompress)],
  ['zstd', promisify(zstdDecompress)],
])

/**
 * What an encoded body stands for.
 * @param encodings the value of `content-encoding`
 * @throws ShadowError invalid_request when it can't be decoded, or would be longer than `maxBytes`
 */
export async function plainBody(body: Buffer, encodings: string, maxBytes: number): Promise<Buffer> {
  const names = encodings.split(',').map((name) => name.trim().toLowerCase())
  let plain = body
  // They are named in the order in which they were applied.
  for (const name of names.toReversed()) {
    if (name === '' || name === 'identity') continue
    try {
      const decode = decoders.get(name)
      if (decode === undefined) throw new Error('it is not known')
      plain = await decode(plain, { maxOutputLength: maxBytes })
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new ShadowError('invalid_request', `The content encoding "${name}" can't be read: ${why}.`, {
        hint: 'Send the body without content-encoding, or compressed with gzip, deflate, br or zstd.',
        cause,
      })
    }
  }
  return plain
}

/** Answers a request whose body is not wanted, and closes the connection once the client could read that. */
export function refuseBody(req: IncomingMessage, res: ServerResponse, error: ShadowError): void {
  const body = Buffer.from(JSON.stringify(error.toOpenAI()))
  res.writeHead(error.httpStatus, {
    'content-type': 'application/json',
    'content-length': body.length,
    connection: 'close',
  })
  // Closing at once would reset the connection under a client that is still sending, and lose the answer.
  res.write(body)
  const timer = setTimeout(() => res.end(), lingerMs)
  req.once('close', () => clearTimeout(timer))
  req.once('end', () => {
    clearTimeout(timer)
    res.end()
  })
  req.resume()
}

function tooLarge(maxBytes: number): ShadowError {
  return new ShadowError('too_large', `The request's body is longer than ${maxBytes} bytes.`, {
    hint: 'Send less at once, or start `shadow serve` with a larger --max-body.',
  })
}
