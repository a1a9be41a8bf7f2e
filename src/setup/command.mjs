/** Running other programs during set-up, with their output kept for the error message. */
import { spawn, spawnSync } from 'node:child_process'
import { SetupFailure } from './failure.mjs'

const keptOutputChars = 100_000
const shownLines = 10

/**
 * Runs a program to its end and returns what it printed.
 * @param {readonly string[]} command program and arguments; no shell is involved
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, failure: string }} options `failure`: the sentence to
 *   fail with, to which the last lines of the program's output are added
 * @returns {Promise<string>}
 */
export function run(command, { cwd, env, failure }) {
  const [program, ...args] = command
  if (program === undefined) throw new Error('An empty command')
  return new Promise((resolvePromise, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
      ...(cwd === undefined ? {} : { cwd }),
    })
    let output = ''
    /** @param {Buffer} chunk */
    const keep = (chunk) => {
      output = (output + chunk.toString()).slice(-keptOutputChars)
    }
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.on('error', (error) => reject(new SetupFailure(`${failure} ${error.message}`)))
    child.on('close', (code, signal) => {
      if (code === 0) resolvePromise(output)
      else
        reject(
          new SetupFailure(`${failure}\n${complaint(output)}\n(${program}: ${signal ?? `exit ${code}`})`),
        )
    })
  })
}

/**
 * The first line a program prints, or undefined if it is missing or fails.
 * @param {readonly string[]} command
 * @returns {string | undefined}
 */
export function firstLine(command) {
  const [program, ...args] = command
  if (program === undefined) return undefined
  const { status, stdout } = spawnSync(program, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return status === 0 ? (stdout.split('\n')[0] ?? '').trim() : undefined
}

/**
 * The part of a failed program's output that says why: its first lines with "error", else its last lines.
 * @param {string} output
 */
function complaint(output) {
  const lines = output.trimEnd().split('\n')
  const errors = lines.filter((line) => /error/i.test(line))
  return (errors.length > 0 ? errors.slice(0, shownLines) : lines.slice(-shownLines)).join('\n')
}
