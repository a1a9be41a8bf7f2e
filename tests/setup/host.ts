/** Running the set-up as a user's machine would: as a process, with an environment of its own. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url))

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
  ms: number
}

/** Starts a program; `onStdout` sees what it prints as it comes. */
export function runProgram(
  command: readonly string[],
  {
    env = {},
    cwd = root,
    onStdout,
  }: {
    env?: NodeJS.ProcessEnv
    cwd?: string
    onStdout?: (text: string, kill: (signal: NodeJS.Signals) => void) => void
  } = {},
): Promise<Ended> {
  const [program = '', ...args] = command
  const startMs = performance.now()
  const child = spawn(program, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
    onStdout?.(chunk.toString(), (signal) => child.kill(signal))
  })
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) =>
      resolve({ code, signal, stdout, stderr, ms: performance.now() - startMs }),
    )
  })
}

/** A folder that is removed at the end of the scope. */
export function tempFolder(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'shadow-setup-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

/** A PATH with nothing on it but the given programs. */
export function pathWith(folder: string, programs: Readonly<Record<string, string>>): string {
  for (const [name, target] of Object.entries(programs)) symlinkSync(target, join(folder, name))
  return folder
}
