/** Which files of a model on a hub are needed here. */
import { ShadowError } from '../../lib/error.ts'
import type { HubFile } from './hub.ts'

/** Weights under the names that transformers reads; others are the same again in another format. */
const weights = /^model(-\d{5}-of-\d{5})?\.safetensors$/
const besides = new Set([
  'config.json',
  'generation_config.json',
  'model.safetensors.index.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'chat_template.jinja',
  'LICENSE',
  'LICENSE.txt',
])

/**
 * @param id for errors
 * @param wanted one GGUF file by name; null for what the model is best read from
 * @throws ShadowError `not_found`, `invalid_request` where a file has to be named
 */
export function chooseFiles(id: string, files: readonly HubFile[], wanted: string | null): HubFile[] {
  const gguf = files.filter(({ name }) => name.toLowerCase().endsWith('.gguf'))
  if (wanted !== null) {
    const file = gguf.find(({ name }) => name === wanted)
    if (file !== undefined) return [file]
    throw new ShadowError('not_found', `${id} has no file ${wanted}.`, choice(id, gguf))
  }
  const folder = files.filter(({ name }) => weights.test(name) || besides.has(name))
  const has = (name: string): boolean => folder.some((file) => file.name === name)
  if (folder.some(({ name }) => weights.test(name))) {
    for (const name of ['config.json', 'tokenizer.json'])
      if (!has(name)) throw new ShadowError('invalid_file', `${id} has weights, but no ${name}.`)
    return folder
  }
  const [only, ...others] = gguf
  if (only !== undefined && others.length === 0) return [only]
  if (only !== undefined)
    throw new ShadowError('invalid_request', `${id} has ${gguf.length} GGUF files.`, choice(id, gguf))
  throw new ShadowError('invalid_file', `${id} has weights neither as model.safetensors nor as GGUF.`, {
    hint: 'Choose a model that has.',
  })
}

function choice(id: string, gguf: readonly HubFile[]): { hint: string } {
  const names = gguf.slice(0, 20).map(({ name, bytes }) => `${id}/${name} (${(bytes / 1e6).toFixed(0)} MB)`)
  return { hint: names.length === 0 ? 'It has no GGUF file at all.' : `Name one: ${names.join(', ')}.` }
}
