/** Writing files so that a reader sees the whole of them or nothing. */
import { createHash, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/** Creates a folder that only its owner may enter. */
export async function privateFolder(path: string): Promise<string> {
  await mkdir(path, { recursive: true, mode: 0o700 })
  return path
}

/** Writes `path` (0600) through a temporary file beside it, fsync and rename; nothing is left where that fails. */
export async function writeFileAtomically(path: string, data: string | Uint8Array): Promise<void> {
  await privateFolder(dirname(path))
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`
  const file = await open(temporary, 'w', 0o600)
  try {
    try {
      await file.writeFile(data)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (thrown) {
    await rm(temporary, { force: true })
    throw thrown
  }
  await syncFolder(dirname(path))
}

/** Makes a rename inside the folder survive the loss of power. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** SHA-256 of a file's bytes, hex. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk)
  return hash.digest('hex')
}

/**
 * SHA-256 over the names and bytes of a folder's files, hex; independent of times and order on disk. Hidden files
 * and folders within don't count: fetched models bring histories and copies in other formats there.
 */
export async function hashFolder(path: string): Promise<string> {
  const hash = createHash('sha256')
  const names = (await readdir(path)).filter((name) => !name.startsWith('.')).toSorted()
  for (const name of names)
    if ((await stat(join(path, name))).isFile()) hash.update(`${name}\0${await hashFile(join(path, name))}\n`)
  return hash.digest('hex')
}

/** SHA-256 of a file, or over the files of a folder, hex. */
export async function hashFileOrFolder(path: string): Promise<string> {
  return (await stat(path)).isDirectory() ? await hashFolder(path) : await hashFile(path)
}

/** One JSON value a line. */
export function toJsonLines(values: readonly unknown[]): string {
  return values.map((value) => `${JSON.stringify(value)}\n`).join('')
}

/** The values of a JSONL file, each checked by `parse`. */
export async function readJsonLines<T>(path: string, parse: (value: unknown) => T): Promise<T[]> {
  const text = await readFile(path, 'utf8')
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => parse(JSON.parse(line)))
}
