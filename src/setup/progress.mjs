/** One line a step: what, how big, how long. Nothing is printed for a step that had nothing to do. */
import { SetupFailure } from './failure.mjs'

/**
 * @typedef {{ detail?: string, bytes?: number }} StepResult
 * @typedef {{ step: <T extends StepResult>(name: string, work: () => Promise<T>) => Promise<T> }} Progress
 */

/**
 * Prints steps to a stream: a running line on a terminal, replaced by `✓ name  18 MB  3.1 s`.
 * @param {{ write(text: string): unknown, isTTY?: boolean }} [stream]
 * @returns {Progress}
 */
export function printedProgress(stream = process.stderr) {
  const live = stream.isTTY === true
  return {
    async step(name, work) {
      const startMs = performance.now()
      if (live) stream.write(`· ${name} …`)
      const finish = (/** @type {string} */ text) => stream.write(`${live ? '\r\x1b[K' : ''}${text}\n`)
      try {
        const result = await work()
        const parts = [result.detail, result.bytes === undefined ? undefined : formatBytes(result.bytes)]
        finish(
          [
            '✓ ' + name,
            ...parts.filter((part) => part !== undefined),
            formatMs(performance.now() - startMs),
          ].join('  '),
        )
        return result
      } catch (thrown) {
        finish(`✗ ${name}`)
        throw thrown
      }
    },
  }
}

/** Runs the steps and says nothing. @type {Progress} */
export const silentProgress = { step: (_name, work) => work() }

/**
 * Prints a set-up failure as its sentence, anything else with its stack.
 * @param {unknown} thrown
 */
export function printFailure(thrown) {
  process.stderr.write(
    `${thrown instanceof SetupFailure ? thrown.message : thrown instanceof Error ? thrown.stack : String(thrown)}\n`,
  )
}

/**
 * @param {number} bytes
 * @returns {string} in MB or GB (powers of ten)
 */
export function formatBytes(bytes) {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.max(1, Math.round(bytes / 1e6))} MB`
}

/**
 * @param {number} ms
 * @returns {string} in seconds
 */
function formatMs(ms) {
  return `${(ms / 1000).toFixed(1)} s`
}
