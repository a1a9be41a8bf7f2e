/** A SHADOW_HOME of its own for a test, and the command run in it as a user would. */
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cacheDir, packageRoot } from '../../src/setup/paths.mjs'

export interface Finished {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface TestHome extends AsyncDisposable {
  readonly path: string
  readonly env: NodeJS.ProcessEnv
  shadow(args: readonly string[]): Promise<Finished>
  /** Starts a command and leaves it running. */
  start(args: readonly string[]): Running
}

export interface Running {
  readonly pid: number
  readonly finished: Promise<Finished>
  kill(signal: NodeJS.Signals): void
  /** Resolves with the text once the output holds it. */
  saw(text: string): Promise<string>
}

const main = join(packageRoot(), 'src', 'cli', 'main.ts')

export async function testHome(): Promise<TestHome> {
  return useHome(await mkdtemp(join(tmpdir(), 'shadow-test-')))
}

/** The same for a folder that exists already; it is removed in the end. */
export function useHome(path: string): TestHome {
  const env = { ...process.env, SHADOW_HOME: path, SHADOW_CACHE: cacheDir() }
  const started: Running[] = []
  const start = (args: readonly string[]): Running => {
    const running = launch(args, env)
    started.push(running)
    return running
  }
  return {
    path,
    env,
    start,
    shadow: (args) => start(args).finished,
    async [Symbol.asyncDispose]() {
      for (const running of started) running.kill('SIGTERM')
      await Promise.all(started.map((running) => running.finished))
      await rm(path, { recursive: true, force: true })
    },
  }
}

function launch(args: readonly string[], env: NodeJS.ProcessEnv): Running {
  const child = spawn(process.execPath, [main, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const output = { stdout: '', stderr: '' }
  const waiting = new Set<() => void>()
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
      for (const look of waiting) look()
    })
  }
  const finished = new Promise<Finished>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ code, signal, ...output }))
  })
  return {
    pid: child.pid ?? 0,
    finished,
    kill: (signal) => void child.kill(signal),
    saw: (text) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (!output.stdout.includes(text) && !output.stderr.includes(text)) return
          waiting.delete(look)
          resolve(output.stdout)
        }
        waiting.add(look)
        void finished.then(({ stdout, stderr }) =>
          reject(new Error(`It ended without "${text}":\n${stdout}\n${stderr}`)),
        )
        look()
      }),
  }
}
