import { existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { fetchFile } from '../../src/ops/pull/fetch-file.ts'

test.runIf(existsSync('/dev/full'))(
  'a full disk is said at once, not taken for a broken connection',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'shadow-fetch-'))
    const path = join(folder, 'model.gguf')
    symlinkSync('/dev/full', path)
    let reads = 0
    const model = {
      read: async () => {
        reads += 1
        return new Blob([new Uint8Array(100)]).stream()
      },
    }
    const file = { name: 'model.gguf', bytes: 100, checksum: null }
    const { signal } = new AbortController()
    await expect(fetchFile({ model, file, path, signal, onBytes: () => undefined })).rejects.toMatchObject({
      code: 'store_failed',
      message: expect.stringMatching(/ENOSPC/),
    })
    expect(reads).toBe(1)
    rmSync(folder, { recursive: true })
  },
)
