/** What a loader may do with a hostile file: read it, or throw a ShadowError that names file and field. */
import { messageOf, ShadowError } from '../../src/lib/error.ts'

export interface Outcome {
  readonly refused: boolean
  /** What it did that it may not do. */
  readonly problem: string | undefined
}

/**
 * @param folder holds the input
 * @param bytes the input's
 * @param options.spareHeapBytes what may be taken for the heap beside; garbage counts until it is collected
 */
export function judgeLoad(
  load: () => void,
  folder: string,
  bytes: number,
  { spareHeapBytes = 2 ** 28 } = {},
): Outcome {
  const before = process.memoryUsage()
  const start = process.cpuUsage()
  let refused = false
  let problem: string | undefined
  try {
    load()
  } catch (thrown) {
    refused = true
    problem = problemOfError(thrown, folder)
  }
  const { user, system } = process.cpuUsage(start)
  const after = process.memoryUsage()
  const buffers = after.arrayBuffers - before.arrayBuffers
  // Four-bit weights become f32 (7.1 times their bytes) and once more in another row order; and the windows.
  if (buffers > 24 * bytes + 65_536) problem ??= `${buffers} bytes of buffers for a file of ${bytes}`
  const heap = after.heapUsed - before.heapUsed
  if (heap > 400 * bytes + spareHeapBytes) problem ??= `${heap} bytes of heap for a file of ${bytes}`
  const cpuMs = (user + system) / 1000
  if (cpuMs > 2000) problem ??= `took ${cpuMs} ms`
  return { refused, problem }
}

function problemOfError(thrown: unknown, folder: string): string | undefined {
  if (!(thrown instanceof ShadowError)) return `untyped: ${messageOf(thrown).slice(0, 200)}`
  const { code, message } = thrown
  if (!['invalid_file', 'not_found', 'invalid_config'].includes(code))
    return `code ${code}: ${message.slice(0, 200)}`
  const at = message.indexOf(folder)
  if (at < 0 || !/^[^:]+: \S/.test(message.slice(at)))
    return `names no file and field: ${message.slice(0, 200)}`
  if (message.length > 1000) return `a message of ${message.length} characters`
  return /(?!\n)\p{Cc}/u.test(message) ? 'a message with control characters' : undefined
}
