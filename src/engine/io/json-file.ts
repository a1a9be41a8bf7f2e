/** JSON from files that nobody vouches for. */
import { messageOf, ShadowError } from '../../lib/error.ts'
import { scanJsonObject } from '../../lib/json-slices.ts'
import { FileWindow } from './file-window.ts'
import { fileProblem } from './file-problem.ts'

/** Tokenizers are the largest JSON files beside models, some 20 MB. */
const largestFileBytes = 200_000_000

/**
 * Reads a file that holds one JSON object.
 * @param hint what to do about a file that is damaged
 * @throws ShadowError `not_found`, or `invalid_file` for what {@link parseJsonObject} refuses
 */
export function readJsonObject(path: string, hint: string): object {
  using file = new FileWindow(path)
  if (file.size > largestFileBytes)
    throw fileProblem(path, 'content', `${file.size} bytes are too many for such a file`, hint)
  return parseJsonObject(path, 'content', file.bytes(0, file.size, 'content'), hint)
}

/**
 * One JSON object in UTF-8, in which no name occurs twice (readers differ in which they take) and nothing is
 * nested deeper than functions that walk it can bear.
 * @throws ShadowError `invalid_file` naming the file and the field
 */
export function parseJsonObject(path: string, field: string, bytes: Uint8Array, hint: string): object {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw fileProblem(path, field, 'is not UTF-8', hint)
  }
  const names = new Set<string>()
  for (const { name } of scanned(path, field, bytes, hint)) {
    if (names.has(name)) throw fileProblem(path, field, `${name} appears twice`, hint)
    names.add(name)
  }
  const value: unknown = JSON.parse(text)
  if (typeof value === 'object' && value !== null) return value
  throw fileProblem(path, field, 'is not a JSON object', hint)
}

function scanned(path: string, field: string, bytes: Uint8Array, hint: string) {
  try {
    return scanJsonObject(bytes)
  } catch (thrown) {
    if (!(thrown instanceof ShadowError)) throw thrown
    const reason = messageOf(thrown).replace(/^The body is not valid JSON: |\.$/g, '')
    throw fileProblem(path, field, `is not a JSON object: ${reason}`, hint)
  }
}
