/** Results that are several files: all of them appear, or none. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { messageOf, ShadowError } from '../../lib/error.ts'
import { syncFolder } from '../../lib/files.ts'

/**
 * Has a folder's files written beside it and moves it into place. One that is there and empty is written in place,
 * since it may be another disk, and emptied again when that fails.
 * @throws ShadowError `invalid_request`, `conflict` for a path that holds something, `store_failed`, what `write` throws
 */
export async function intoNewFolder(path: string, write: (folder: string) => Promise<void>): Promise<void> {
  if (path === '') throw new ShadowError('invalid_request', 'There is no folder to write to.')
  const folder = resolve(path)
  const inPlace = existsSync(folder)
  if (inPlace) checkEmpty(folder)
  let written = folder
  try {
    if (!inPlace) {
      await mkdir(dirname(folder), { recursive: true, mode: 0o700 })
      written = await mkdtemp(join(dirname(folder), `.${basename(folder)}.partial-`))
    }
    await write(written)
    if (inPlace) return
    await rename(written, folder)
    await syncFolder(dirname(folder))
  } catch (thrown) {
    await removeAll(written, inPlace)
    if (thrown instanceof ShadowError || !isSystemError(thrown)) throw thrown
    // Somebody else's was there first.
    if (thrown.code === 'ENOTEMPTY' || thrown.code === 'EEXIST') checkEmpty(folder)
    throw new ShadowError('store_failed', `${path} cannot be written: ${messageOf(thrown)}.`, {
      hint: 'Check the free space of its disk and who may write there.',
      cause: thrown,
    })
  }
}

function checkEmpty(folder: string): void {
  const hint = 'Name a new folder.'
  if (!statSync(folder).isDirectory()) throw new ShadowError('conflict', `${folder} is a file.`, { hint })
  if (readdirSync(folder).length > 0) throw new ShadowError('conflict', `${folder} is not empty.`, { hint })
}

/** What was begun; the error that led here is the one to tell. */
async function removeAll(folder: string, keepFolder: boolean): Promise<void> {
  const names = keepFolder ? await readdir(folder).catch(() => []) : ['']
  for (const name of names)
    await rm(join(folder, name), { recursive: true, force: true }).catch(() => undefined)
}

function isSystemError(thrown: unknown): thrown is NodeJS.ErrnoException {
  return thrown instanceof Error && 'syscall' in thrown && 'code' in thrown
}
