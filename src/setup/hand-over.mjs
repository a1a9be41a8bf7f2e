/** Handing the terminal over to a program: same stdin, stdout and stderr, signals passed on, same exit. */
import { spawn } from 'node:child_process'
import { compileCache } from './paths.mjs'

/** @type {NodeJS.Signals[]} */
const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP']

/**
 * Runs a Node program in this process's place; ends this process the way the program ended.
 * @param {string} node the binary
 * @param {readonly string[]} args its arguments, the script first
 */
export function handOver(node, args) {
  const child = spawn(node, args, { stdio: 'inherit', env: { ...compileCache(), ...process.env } })
  for (const signal of forwarded) {
    process.on(signal, () => {
      // A terminal's Ctrl-C reaches the child by itself; passing it on would count as pressing it twice.
      if (signal === 'SIGINT' && process.stdin.isTTY) return
      child.kill(signal)
    })
  }
  child.on('error', (error) => {
    process.stderr.write(`${node} could not be started: ${error.message}\n`)
    process.exit(1)
  })
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1)
    for (const name of forwarded) process.removeAllListeners(name)
    process.kill(process.pid, signal)
  })
}
