/** Base models by name. */
import { existsSync } from 'node:fs'
import { ShadowError } from '../lib/error.ts'
import { defaultModelName, defaultModelPath } from '../setup/model.mjs'

/**
 * The file of a base model.
 * @param name a known name, or the path of a GGUF file
 * @throws ShadowError not_found
 */
export function findBaseModel(name: string): string {
  if (name === defaultModelName) {
    const path = defaultModelPath()
    if (existsSync(path)) return path
    throw new ShadowError('missing_prerequisite', `The model ${name} has not been fetched.`, {
      hint: 'Run `shadow setup` once.',
    })
  }
  if (existsSync(name)) return name
  throw new ShadowError('not_found', `There is no base model "${name}".`, {
    hint: `Use ${defaultModelName}, or the path of a GGUF file.`,
  })
}
