/** The tokenizer of a Hugging Face folder. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { FileWindow } from '../io/file-window.ts'
import { damagedFileHint, fileProblem } from '../io/file-problem.ts'
import { type ParsedTokenizer, parseTokenizer } from './tokenizer-file.ts'

/** The largest in use are some 35 MB. */
const largestFileBytes = 200_000_000

/**
 * @param folder with tokenizer.json, and beside it what describes its use
 * @throws ShadowError `not_found` without a tokenizer.json, `invalid_file` naming file and field
 */
export function readTokenizerFolder(folder: string): ParsedTokenizer {
  const read = (name: string): Uint8Array => {
    using file = new FileWindow(join(folder, name))
    if (file.size > largestFileBytes)
      throw fileProblem(join(folder, name), 'content', `${file.size} bytes are too many`, damagedFileHint)
    return file.bytes(0, file.size, 'content')
  }
  const optional = (name: string): Uint8Array | undefined =>
    existsSync(join(folder, name)) ? read(name) : undefined
  return parseTokenizer(
    {
      tokenizer: read('tokenizer.json'),
      tokenizerConfig: optional('tokenizer_config.json'),
      generationConfig: optional('generation_config.json'),
      chatTemplate: optional('chat_template.jinja'),
    },
    folder,
  )
}
