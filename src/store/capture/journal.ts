/**
 * Where a call is committed: an append to a file, which the kernel keeps when the process dies. The tables
 * follow behind, in a thread of their own. A journal is a folder of numbered segments; each record is its
 * length and checksum (u32 each, little endian) and its bytes. A segment is deleted once the tables hold it.
 */
import { closeSync, fdatasync, ftruncateSync, mkdirSync, openSync, readdirSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { crc32 } from 'node:zlib'

const headBytes = 8

/** Bytes after which a new segment is begun. */
const segmentBytes = 16 * 1024 * 1024

/** Numbers of the segments that exist, oldest first. */
export function segmentsOf(folder: string): number[] {
  return readdirSync(folder)
    .filter((name) => /^[0-9]+\.log$/.test(name))
    .map((name) => Number.parseInt(name, 10))
    .toSorted((a, b) => a - b)
}

export function segmentPath(folder: string, number: number): string {
  return join(folder, `${String(number).padStart(9, '0')}.log`)
}

/** The record that begins at `at`, and where the next one does; null where none is whole. */
export function recordAt(bytes: Buffer, at: number): { payload: Buffer; next: number } | null {
  if (at + headBytes > bytes.length) return null
  const next = at + headBytes + bytes.readUInt32LE(at)
  if (next > bytes.length) return null
  const payload = bytes.subarray(at + headBytes, next)
  return crc32(payload) === bytes.readUInt32LE(at + 4) ? { payload, next } : null
}

/** A record's bytes, its head first. */
export function frameOf(pieces: readonly Uint8Array[]): Buffer {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0)
  const frame = Buffer.allocUnsafe(headBytes + length)
  let at = headBytes
  for (const piece of pieces) {
    frame.set(piece, at)
    at += piece.length
  }
  frame.writeUInt32LE(length, 0)
  frame.writeUInt32LE(crc32(frame.subarray(headBytes)), 4)
  return frame
}

export class Journal {
  private readonly folder: string
  /** Whether a record also has to survive the loss of power. */
  private readonly isSynced: boolean
  private segment: number
  private file: number
  private length = 0
  private syncing: Promise<void> | null = null
  private nextSync: Promise<void> | null = null

  constructor(folder: string, isSynced: boolean) {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    this.folder = folder
    this.isSynced = isSynced
    this.segment = (segmentsOf(folder).at(-1) ?? 0) + 1
    this.file = this.open()
  }

  /**
   * Resolves once the record survives. The bytes are in the kernel's hands when this returns.
   * @throws the file system's error; the journal is then as it was before
   */
  append(pieces: readonly Uint8Array[]): Promise<void> | void {
    if (this.length >= segmentBytes) this.beginSegment()
    this.write(frameOf(pieces))
    if (this.isSynced) return this.sync()
  }

  /**
   * Finds out whether `bytes` more could be written, and takes them back.
   * @throws the file system's error
   */
  probe(bytes: number): void {
    // Bytes that can't be mistaken for a record, should the process die in between.
    this.write(Buffer.alloc(bytes, 0xff))
    this.length -= bytes
    ftruncateSync(this.file, this.length)
  }

  close(): void {
    closeSync(this.file)
  }

  private write(frame: Buffer): void {
    try {
      const written = writeSync(this.file, frame, 0, frame.length, this.length)
      if (written !== frame.length)
        throw new Error(`only ${written} of ${frame.length} bytes could be written`)
      this.length += frame.length
    } catch (error) {
      // A torn record would hide those that are written after it.
      ftruncateSync(this.file, this.length)
      throw error
    }
  }

  /** Leaves the segment under way to be taken in and deleted. @throws the file system's error */
  beginSegment(): void {
    const before = this.file
    this.segment++
    this.file = this.open()
    this.length = 0
    closeSync(before)
  }

  private open(): number {
    return openSync(segmentPath(this.folder, this.segment), 'wx', 0o600)
  }

  /** Group commit to the disk: records that come while one sync runs share the next. */
  private sync(): Promise<void> {
    if (this.syncing === null) {
      this.syncing = promisify(fdatasync)(this.file).finally(() => {
        this.syncing = null
      })
      return this.syncing
    }
    this.nextSync ??= this.syncing
      .catch(() => {})
      .then(() => {
        this.nextSync = null
        return this.sync()
      })
    return this.nextSync
  }
}
