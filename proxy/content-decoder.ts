/** Undoes a reply's content encoding for the record; the agent gets the encoded bytes as they came. */
import type { Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib'

export interface Decoder {
  /** What can be decoded with this chunk. Throws on damaged input. */
  push(chunk: Uint8Array): readonly Uint8Array[] | Promise<readonly Uint8Array[]>
}

/** Null for an encoding that isn't known. */
export function contentDecoder(encoding: string): Decoder | null {
  switch (encoding.trim().toLowerCase()) {
    case 'identity':
      return { push: (chunk) => [chunk] }
    case 'gzip':
    case 'x-gzip':
      return new TransformDecoder(createGunzip())
    case 'deflate':
      return new TransformDecoder(createInflate())
    case 'br':
      return new TransformDecoder(createBrotliDecompress())
    case 'zstd':
      return new TransformDecoder(createZstdDecompress())
    default:
      return null
  }
}

class TransformDecoder implements Decoder {
  private readonly transform: Transform
  private decoded: Uint8Array[] = []
  private failure: Error | null = null

  constructor(transform: Transform) {
    this.transform = transform
    transform.on('data', (chunk: Buffer) => this.decoded.push(chunk))
    transform.on('error', (error) => {
      this.failure = error
    })
  }

  async push(chunk: Uint8Array): Promise<readonly Uint8Array[]> {
    if (this.failure !== null) throw this.failure
    // The callback comes when the chunk has gone through, so what it decodes to is known before it is sent on.
    await new Promise<void>((resolve, reject) => {
      this.transform.write(chunk, (error) =>
        error === null || error === undefined ? resolve() : reject(error),
      )
    })
    const { decoded } = this
    this.decoded = []
    return decoded
  }
}
