/**
 * Pictures, sounds and files come inside messages, as base64 in the midst of JSON. They are cut out and stored once,
 * as the bytes they are, whatever message they come in; what is put together again equals what came, byte for byte.
 */
import type SqliteDatabase from 'better-sqlite3'
import type { KeyedHash } from '../../lib/hash.ts'
import { asBuffer } from '../../lib/json-slices.ts'
import { cutOut, fillIn, readHoles, writeHoles } from './layout.ts'
import { partHash } from './prompt.ts'

/** Characters of base64 from which a run is worth a row of its own. */
const blobChars = 1024

/** What stands before the data of pictures, sounds and files in every dialect: a data URL's head, or the field's name. */
const mediaHead = /;base64,|"(?:data|b64_json|file_data)"\s{0,8}:\s{0,8}"/g

const equalsSign = 0x3d

export interface Blob {
  readonly hash: Buffer
  readonly bytes: Buffer
}

/** A part without its blobs; `holes` says where they go. */
export function withoutBlobs(
  hash: KeyedHash,
  bytes: Uint8Array,
): { literal: Uint8Array; holes: string; blobs: Blob[] } {
  const cuts: Parameters<typeof cutOut>[1][number][] = []
  const blobs: Blob[] = []
  const text = bytes.length < blobChars ? '' : asBuffer(bytes).toString('latin1')
  for (const { 0: head, index: before } of text.matchAll(mediaHead)) {
    const index = before + head.length
    const end = endOfBase64(bytes, index)
    if (end - index < blobChars) continue
    const run = text.slice(index, end)
    const decoded = Buffer.from(run, 'base64')
    // What base64 could be written in another way is kept as it came.
    if (decoded.toString('base64') !== run) continue
    const blob = { hash: partHash(hash, decoded), bytes: decoded }
    blobs.push(blob)
    const filling = { kind: 'blob', hash: blob.hash.toString('hex') } as const
    cuts.push({ slice: { start: index, end: index + run.length }, filling })
  }
  const { literal, holes } = cutOut(bytes, cuts)
  return { literal, holes: writeHoles(holes), blobs }
}

/** Behind the base64 that begins at `start`. A loop, because a regular expression needs stack for every character. */
function endOfBase64(bytes: Uint8Array, start: number): number {
  let end = start
  while (isBase64(bytes[end])) end++
  const padded = end + 2
  while (end < padded && bytes[end] === equalsSign) end++
  return end
}

function isBase64(byte: number | undefined): boolean {
  if (byte === undefined) return false
  const isLetter = (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a
  return isLetter || (byte >= 0x2f && byte <= 0x39) || byte === 0x2b
}

/** Puts parts together again. */
export class PartReader {
  private readonly blob: SqliteDatabase.Statement<[Buffer], { bytes: Buffer }>

  constructor(sqlite: SqliteDatabase.Database) {
    this.blob = sqlite.prepare<[Buffer], { bytes: Buffer }>('SELECT bytes FROM parts WHERE hash = ?')
  }

  /** All of a part, from its row. */
  whole({ bytes, holes }: { bytes: Buffer; holes: string | null }): Buffer {
    if (holes === null) return bytes
    return fillIn({ literal: bytes, holes: readHoles(holes) }, (hole) => {
      const found = hole.kind === 'blob' ? this.blob.get(Buffer.from(hole.hash, 'hex')) : undefined
      return Buffer.from(found?.bytes.toString('base64') ?? '', 'latin1')
    })
  }
}
