/** One file from a hub to disk: what is there already is kept, and the whole is compared with its checksum. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, rm, stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { ShadowError } from '../../lib/error.ts'
import type { HubFile, HubModel } from './hub.ts'

/** Broken connections in a row, without a byte in between, after which it is given up. */
const attempts = 4
const firstWaitMs = 500
/** Of what has come and is not written yet. */
const mostWaitingBytes = 8_000_000

export interface FetchParts {
  readonly model: Pick<HubModel, 'read'>
  readonly file: HubFile
  /** A part of it may be there from an earlier try. */
  readonly path: string
  readonly signal: AbortSignal
  /** Bytes of the file that are on disk. */
  onBytes(bytes: number): void
}

/** @throws ShadowError `upstream_unreachable`, `upstream_error` for a checksum that differs, `store_failed` */
export async function fetchFile(parts: FetchParts): Promise<void> {
  const { file, path, onBytes, signal } = parts
  let failures = 0
  for (;;) {
    const before = await sizeOf(path)
    if (before > file.bytes) await rm(path)
    onBytes(Math.min(before, file.bytes))
    if (before === file.bytes) {
      if (await matches(path, file)) return
      await rm(path)
      throw new ShadowError('upstream_error', `${file.name} came with another checksum than the hub lists.`, {
        hint: 'Pull again; if it stays so, what is between here and the hub changes files.',
      })
    }
    try {
      await append(parts, before > file.bytes ? 0 : before)
    } catch (thrown) {
      signal.throwIfAborted()
      if (thrown instanceof ShadowError && thrown.code !== 'upstream_unreachable') throw thrown
      if (isOfDisk(thrown)) throw unwritable(thrown, path)
      failures = (await sizeOf(path)) > before ? 0 : failures + 1
      if (failures >= attempts) throw unreachable(thrown, file)
      await sleep(firstWaitMs * 2 ** failures, undefined, { signal })
      continue
    }
    // A stream that ends early without an error is a broken connection too.
    if ((await sizeOf(path)) <= before && ++failures >= attempts) throw unreachable(undefined, file)
  }
}

async function append({ model, file, path, onBytes }: FetchParts, start: number): Promise<void> {
  // Opened before anything is asked for, and written beside the reading: a connection that breaks takes along what has
  // come and nobody has asked for yet.
  const out = await open(path, start === 0 ? 'w' : 'a', 0o600)
  let writing = Promise.resolve()
  try {
    const body = await model.read(file.name, start)
    if (body === null) {
      await out.truncate(0)
      return
    }
    let bytes = start
    let waiting = 0
    for await (const chunk of body) {
      bytes += chunk.length
      if (bytes > file.bytes)
        throw new ShadowError(
          'upstream_error',
          `${file.name} is longer than the ${file.bytes} bytes that the hub lists.`,
        )
      const onDisk = bytes
      waiting += chunk.length
      writing = writing.then(async () => {
        await out.writeFile(chunk)
        waiting -= chunk.length
        onBytes(onDisk)
      })
      // Its failure is thrown below.
      writing.catch(() => undefined)
      if (waiting > mostWaitingBytes) await writing
    }
  } finally {
    try {
      await writing
      await out.sync()
    } finally {
      await out.close()
    }
  }
}

async function matches(path: string, { checksum, bytes }: HubFile): Promise<boolean> {
  if (checksum === null) return true
  const hash = createHash(checksum.kind === 'sha256' ? 'sha256' : 'sha1')
  if (checksum.kind === 'git-blob') hash.update(`blob ${bytes}\0`)
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk)
  return hash.digest('hex') === checksum.hex
}

async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => null))?.size ?? 0
}

const diskCodes = ['ENOSPC', 'EDQUOT', 'EFBIG', 'EROFS', 'EACCES', 'EPERM', 'EIO', 'ENOENT', 'ENOTDIR']

/** Trying again does not mend a disk. */
function isOfDisk(thrown: unknown): thrown is Error {
  return (
    thrown instanceof Error &&
    'syscall' in thrown &&
    'code' in thrown &&
    diskCodes.includes(String(thrown.code))
  )
}

function unwritable(thrown: Error, path: string): ShadowError {
  return new ShadowError('store_failed', `${path} cannot be written: ${thrown.message}.`, {
    hint: 'Free some space or set SHADOW_CACHE to another disk; pull again to go on where it ended.',
    cause: thrown,
  })
}

function unreachable(thrown: unknown, { name }: HubFile): ShadowError {
  return new ShadowError(
    'upstream_unreachable',
    `The connection broke ${attempts} times while ${name} was read.`,
    {
      hint: 'Pull again to go on where it ended.',
      cause: thrown,
    },
  )
}
