import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { messageOf, ShadowError } from '../../lib/error.ts'
import { damagedFileHint, fileProblem } from './file-problem.ts'

const windowBytes = 1 << 20

/**
 * A file that is read at given positions, for parsers of untrusted files: nothing outside the file is ever
 * read or allocated, and every failure names the file and the field being read.
 */
export class FileWindow implements Disposable {
  readonly path: string
  /** Bytes in the file when it was opened. */
  readonly size: number
  readonly #fd: number
  #window: DataView<ArrayBuffer> = new DataView(new ArrayBuffer(0))
  #windowStart = 0

  /** @throws ShadowError `not_found` or `invalid_file` */
  constructor(path: string) {
    this.path = path
    try {
      // A named pipe would otherwise be waited for before it can be refused.
      this.#fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    } catch (thrown) {
      throw new ShadowError('not_found', `${path} cannot be read: ${messageOf(thrown)}.`, {
        hint: 'Check the path and its permissions.',
        cause: thrown,
      })
    }
    const stat = fstatSync(this.#fd)
    if (!stat.isFile()) {
      closeSync(this.#fd)
      throw new ShadowError('invalid_file', `${path} is not a file.`, { hint: 'Name the file itself.' })
    }
    this.size = stat.size
  }

  /** A copy of bytes `[start, start + length)`. */
  bytes(start: number, length: number, field: string): Uint8Array<ArrayBuffer> {
    this.#mustHold(start, length, field)
    const bytes = new Uint8Array(length)
    let done = 0
    while (done < length) {
      const count = readSync(this.#fd, bytes, done, length - done, start + done)
      if (count === 0) throw this.invalid(field, 'the file became shorter while it was read')
      done += count
    }
    return bytes
  }

  /**
   * A view whose first byte is file position `start` and that holds at least `length` bytes. It is valid
   * until the next call.
   */
  view(start: number, length: number, field: string): DataView<ArrayBuffer> {
    this.#mustHold(start, length, field)
    const held = start >= this.#windowStart && start + length <= this.#windowStart + this.#window.byteLength
    if (!held) {
      const wanted = Math.min(Math.max(length, windowBytes), this.size - start)
      this.#window = new DataView(this.bytes(start, wanted, field).buffer)
      this.#windowStart = start
    }
    return new DataView(this.#window.buffer, start - this.#windowStart)
  }

  /** The error for a field that cannot be right. */
  invalid(field: string, problem: string): ShadowError {
    return fileProblem(this.path, field, problem, damagedFileHint)
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd)
  }

  #mustHold(start: number, length: number, field: string): void {
    if (!Number.isSafeInteger(start) || !Number.isSafeInteger(length) || start < 0 || length < 0)
      throw this.invalid(field, `position ${start} with length ${length} is not possible`)
    if (start + length > this.size)
      throw this.invalid(
        field,
        `needs bytes ${start} to ${start + length}, but the file ends at ${this.size} (truncated?)`,
      )
  }
}
