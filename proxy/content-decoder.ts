/** Undoes a reply's content encoding for the record; the agent gets the encoded bytes as they came. */
import type { Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib'

export interface Decoder {
  /** What can be decoded with this chunk. Throws on damaged input. */
  push(chunk: Uint8Array): readonly Uint8Array[] | Promise<readonly Uint8Array[]>
}

/**
 * Bytes of a decoded reply beyond which it isn't followed any more: a few kilobytes on the wire can stand for
 * gigabytes, and the record holds all of it in memory.
 */
const maxRecordedBytes = 64 * 1024 * 1024

/** Null for an encoding that isn't known. */
export function contentDecoder(encoding: string, maxBytes = maxRecordedBytes): Decoder | null {
  switch (encoding.trim().toLowerCase()) {
    case 'identity':
      return new PlainDecoder(maxBytes)
    case 'gzip':
    case 'x-gzip':
      return new TransformDecoder(createGunzip(), maxBytes)
    case 'deflate':
      return new TransformDecoder(createInflate(), maxBytes)
    case 'br':
      return new TransformDecoder(createBrotliDecompress(), maxBytes)
    case 'zstd':
      return new TransformDecoder(createZstdDecompress(), maxBytes)
    default:
      return null
  }
}

class PlainDecoder implements Decoder {
  private leftBytes: number

  constructor(maxBytes: number) {
    this.leftBytes = maxBytes
  }

  push(chunk: Uint8Array): readonly Uint8Array[] {
    this.leftBytes -= chunk.length
    if (this.leftBytes < 0) throw tooLong()
    return [chunk]
  }
}

function tooLong(): Error {
  return new Error('it is longer than a record may be')
}

class TransformDecoder implements Decoder {
  private readonly transform: Transform
  private decoded: Uint8Array[] = []
  private failure: Error | null = null
  private rejectWrite: (reason: Error) => void = () => {}

  constructor(transform: Transform, maxBytes: number) {
    this.transform = transform
    let leftBytes = maxBytes
    transform.on('data', (chunk: Buffer) => {
      leftBytes -= chunk.length
      if (leftBytes >= 0) this.decoded.push(chunk)
      else transform.destroy(tooLong())
    })
    transform.on('error', (error) => {
      this.failure = error
      this.decoded = []
      this.rejectWrite(error)
    })
  }

  async push(chunk: Uint8Array): Promise<readonly Uint8Array[]> {
    if (this.failure !== null) throw this.failure
    // The callback comes when the chunk has gone through, so what it decodes to is known before it is sent on.
    await new Promise<void>((resolve, reject) => {
      this.rejectWrite = reject
      this.transform.write(chunk, (error) =>
        error === null || error === undefined ? resolve() : reject(error),
      )
    })
    const { decoded } = this
    this.decoded = []
    return decoded
  }
}
