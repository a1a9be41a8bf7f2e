/** File helpers of the set-up: hashes, sizes, temporary folders that never outlive their step. */
import { createHash } from 'node:crypto'
import { createReadStream, lstatSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { cacheDir, privateDir } from './paths.mjs'

const abandonedAfterMs = 24 * 3600 * 1000

/**
 * @param {string} path
 * @returns {Promise<string>} sha256 as hex
 */
export async function sha256File(path) {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk)
  return hash.digest('hex')
}

/**
 * Bytes of a file, or of all files below a folder.
 * @param {string} path
 * @returns {number}
 */
export function sizeOf(path) {
  const stat = lstatSync(path)
  if (!stat.isDirectory()) return stat.size
  return readdirSync(path).reduce((total, name) => total + sizeOf(join(path, name)), 0)
}

/**
 * Gives `work` an empty folder on the cache's own file system, so that its results can be moved into
 * place by an atomic rename, and removes the folder afterwards.
 * @template T
 * @param {(dir: string) => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withTempDir(work) {
  const parent = privateDir(join(cacheDir(), 'tmp'))
  for (const name of readdirSync(parent)) {
    const path = join(parent, name)
    const ageMs = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now())
    if (ageMs > abandonedAfterMs) rmSync(path, { recursive: true, force: true })
  }
  const dir = mkdtempSync(join(parent, 'step-'))
  try {
    return await work(dir)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
