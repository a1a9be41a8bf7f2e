/** Files too large for memory, written piece by piece; a reader sees the whole of them or nothing. */
import { randomBytes } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { messageOf, ShadowError } from '../../lib/error.ts'
import { privateFolder, syncFolder } from '../../lib/files.ts'

/**
 * Writes `path` (0600) from pieces, through a temporary file beside it.
 * @throws ShadowError `store_failed` when the disk does not take it; nothing is left behind then
 */
export async function writePieces(path: string, pieces: Iterable<Uint8Array>): Promise<void> {
  await privateFolder(dirname(path))
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`
  try {
    const file = await open(temporary, 'wx', 0o600)
    try {
      for (const piece of pieces) await file.writeFile(piece)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
    await syncFolder(dirname(path))
  } catch (thrown) {
    await rm(temporary, { force: true })
    if (thrown instanceof ShadowError) throw thrown
    throw new ShadowError('store_failed', `${path} cannot be written: ${messageOf(thrown)}.`, {
      hint: 'Check the free space and the permissions of the folder.',
      cause: thrown,
    })
  }
}
