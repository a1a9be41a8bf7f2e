/**
 * Where a call is committed: an append to a file, which the kernel keeps when the process dies. The tables
 * follow behind, in a thread of their own. A journal is a folder of numbered segments; each record is its
 * length and checksum (u32 each, little endian) and its bytes. A segment is deleted once the tables hold it.
 */
import {
  close,
  closeSync,
  fdatasync,
  fsyncSync,
  ftruncate,
  ftruncateSync,
  mkdirSync,
  open,
  openSync,
  readdirSync,
  writeSync,
  writev,
  writevSync,
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { crc32 } from 'node:zlib'

const headBytes = 8

/** Bytes after which a new segment is begun. */
const segmentBytes = 16 * 1024 * 1024

/** Bytes of records up to which they are laid out in memory that is reused, which costs less than to hand on their pieces. */
const scratchBytes = 64 * 1024

/** Milliseconds beyond which a write has held the event loop for too long. */
const slowMs = 5

/** Writes that go by another thread after a slow one, until the event loop tries again: twice as many each time. */
const fewestElsewhere = 32
const mostElsewhere = 4096

const later = {
  open: promisify(open),
  close: promisify(close),
  writev: promisify(writev),
  truncate: promisify(ftruncate),
  sync: promisify(fdatasync),
}

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

/** A record's pieces, its head first. */
export function frameOf(pieces: readonly Uint8Array[]): Uint8Array[] {
  const head = Buffer.allocUnsafe(headBytes)
  let checksum = 0
  for (const piece of pieces) checksum = crc32(piece, checksum)
  head.writeUInt32LE(bytesOf(pieces), 0)
  head.writeUInt32LE(checksum, 4)
  return [head, ...pieces]
}

function bytesOf(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0)
}

/** A record on its way to the disk. */
interface Waiting {
  readonly pieces: readonly Uint8Array[]
  readonly bytes: number
  resolve(): void
  reject(reason: unknown): void
}

/** How many of the first records are as long as that together; one at least. */
function countUpTo(waiting: readonly Waiting[], mostBytes: number): number {
  let bytes = 0
  const over = waiting.findIndex((each) => {
    bytes += headBytes + each.bytes
    return bytes > mostBytes
  })
  return over === -1 ? waiting.length : Math.max(over, 1)
}

/**
 * Appends of one turn of the event loop are made together at its end, on the event loop itself, which on a sound disk costs
 * less than asking another thread for them. A disk that once was slow is written by another thread for a while, and records that come meanwhile share a write.
 */
export class Journal {
  /** Writes that held the event loop for longer than it may be. */
  slowWrites = 0
  private readonly folder: string
  /** Whether a record also has to survive the loss of power. */
  private readonly isSynced: boolean
  private segment: number
  private file: number
  private length = 0
  private syncing: Promise<void> | null = null
  private nextSync: Promise<void> | null = null
  /** Writes that are still to be made elsewhere before the event loop tries again, and how many after the next slow one. */
  private elsewhere = 0
  private elsewhereNext = fewestElsewhere
  /** What is done elsewhere, one after the other, and how much of it isn't done yet. */
  private lane: Promise<unknown> = Promise.resolve()
  private inLane = 0
  /** Records of this turn of the event loop, or that wait for the lane. */
  private readonly waiting: Waiting[] = []
  private readonly scratch = Buffer.allocUnsafeSlow(scratchBytes)

  constructor(folder: string, isSynced: boolean) {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    this.folder = folder
    this.isSynced = isSynced
    this.segment = (segmentsOf(folder).at(-1) ?? 0) + 1
    this.file = openSync(segmentPath(folder, this.segment), 'wx', 0o600)
    if (isSynced) syncFolder(folder)
  }

  /**
   * Resolves once the record survives. Records of one turn of the event loop share a write.
   * @throws the file system's error, later; the journal is then as it was before
   */
  append(pieces: readonly Uint8Array[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ pieces, bytes: bytesOf(pieces), resolve, reject })
      if (this.waiting.length === 1) setImmediate(() => this.commit())
    })
  }

  /**
   * Finds out whether `bytes` more could be written, and takes them back.
   * @throws the file system's error, at once or later
   */
  probe(bytes: number): Promise<void> | void {
    // Bytes that can't be mistaken for a record, should the process die in between.
    const frame = [Buffer.alloc(bytes, 0xff)]
    if (this.isReady) {
      this.writeNow(frame)
      this.length -= bytes
      ftruncateSync(this.file, this.length)
      return
    }
    return this.inTurn(async () => {
      await this.write(frame)
      this.length -= bytes
      await later.truncate(this.file, this.length)
    })
  }

  /** Leaves the segment under way to be taken in and deleted. @throws the file system's error, later */
  beginSegment(): Promise<void> {
    return this.inTurn(() => this.nextSegment())
  }

  /** Whether there are segments before the one that is written to. */
  get hasOlderSegments(): boolean {
    return segmentsOf(this.folder).some((number) => number < this.segment)
  }

  async close(): Promise<void> {
    while (this.inLane > 0 || this.waiting.length > 0) {
      await this.lane
      await new Promise((resolve) => setImmediate(resolve))
    }
    if (this.isSynced) await this.sync()
    closeSync(this.file)
    // The number may be given to another file.
    this.file = -1
  }

  /** Whether the event loop may write itself. */
  private get isReady(): boolean {
    return this.inLane === 0 && this.elsewhere === 0
  }

  /** What waits for a commit is written, here where that is quick. */
  private commit(): void {
    while (this.waiting.length > 0) {
      if (!this.isReady || this.length >= segmentBytes) {
        void this.inTurn(() => this.writeWaiting())
        return
      }
      this.writeBatch(this.waiting.splice(0, countUpTo(this.waiting, scratchBytes)))
    }
  }

  private writeBatch(batch: readonly Waiting[]): void {
    try {
      this.writeNow(this.laidOut(batch))
      this.written(batch)
    } catch (error) {
      const [first, ...others] = batch
      // There may be room for some of them.
      if (others.length === 0) first?.reject(error)
      else for (const each of batch) this.writeBatch([each])
    }
  }

  private written(batch: readonly Waiting[]): void {
    if (!this.isSynced) for (const { resolve } of batch) resolve()
    else {
      const synced = this.sync()
      for (const { resolve, reject } of batch) synced.then(resolve, reject)
    }
  }

  /** Records as one piece, where they are short. */
  private laidOut(batch: readonly Waiting[]): readonly Uint8Array[] {
    const { scratch } = this
    let at = 0
    for (const { pieces, bytes } of batch) {
      const start = at + headBytes
      if (start + bytes > scratch.length) return batch.flatMap((each) => frameOf(each.pieces))
      let end = start
      for (const piece of pieces) {
        scratch.set(piece, end)
        end += piece.length
      }
      scratch.writeUInt32LE(bytes, at)
      scratch.writeUInt32LE(crc32(scratch.subarray(start, end)), at + 4)
      at = end
    }
    return [scratch.subarray(0, at)]
  }

  private writeNow(frame: readonly Uint8Array[]): void {
    const start = performance.now()
    const [first, ...others] = frame
    try {
      const bytes =
        first !== undefined && others.length === 0
          ? writeSync(this.file, first, 0, first.length, this.length)
          : writevSync(this.file, frame, this.length)
      this.wrote(bytes, frame)
    } catch (error) {
      // A torn record would hide those that are written after it.
      ftruncateSync(this.file, this.length)
      throw error
    } finally {
      this.took(performance.now() - start)
    }
  }

  private took(ms: number): void {
    if (ms <= slowMs) {
      this.elsewhereNext = fewestElsewhere
      return
    }
    this.slowWrites++
    this.elsewhere = this.elsewhereNext
    this.elsewhereNext = Math.min(2 * this.elsewhereNext, mostElsewhere)
  }

  private async writeWaiting(): Promise<void> {
    const batch = this.waiting.splice(0)
    if (batch.length === 0) return
    try {
      if (this.length >= segmentBytes) await this.nextSegment()
      await this.write(batch.flatMap(({ pieces }) => frameOf(pieces)))
      this.written(batch)
    } catch {
      // There may be room for some of them.
      for (const each of batch) {
        await this.write(frameOf(each.pieces)).then(
          () => this.written([each]),
          (error) => each.reject(error),
        )
      }
    }
  }

  private async write(frame: readonly Uint8Array[]): Promise<void> {
    this.elsewhere = Math.max(0, this.elsewhere - 1)
    try {
      this.wrote((await later.writev(this.file, frame, this.length)).bytesWritten, frame)
    } catch (error) {
      await later.truncate(this.file, this.length)
      throw error
    }
  }

  private wrote(bytes: number, frame: readonly Uint8Array[]): void {
    const wanted = bytesOf(frame)
    if (bytes !== wanted) throw new Error(`only ${bytes} of ${wanted} bytes could be written`)
    this.length += wanted
  }

  private async nextSegment(): Promise<void> {
    // Records may still wait for a sync, which has to be that of the file that they are in.
    if (this.isSynced) await this.sync()
    const before = this.file
    this.segment++
    this.file = await later.open(segmentPath(this.folder, this.segment), 'wx', 0o600)
    this.length = 0
    if (this.isSynced) syncFolder(this.folder)
    await later.close(before)
  }

  private inTurn(work: () => Promise<void>): Promise<void> {
    this.inLane++
    const done = this.lane.then(work).finally(() => {
      this.inLane--
    })
    this.lane = done.catch(() => {})
    return done
  }

  /** Group commit to the disk: records that come while one sync runs share the next. */
  private sync(): Promise<void> {
    if (this.syncing === null) {
      this.syncing = later.sync(this.file).finally(() => {
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

/** Makes a new segment's name survive the loss of power. */
function syncFolder(path: string): void {
  const folder = openSync(path, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}
