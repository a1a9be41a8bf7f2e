/** Starts, watches and ends the demo's child processes. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

export interface ChildOptions {
  /** For people, in errors. */
  readonly name: string
  readonly script: string
  readonly args: readonly string[]
  readonly env: NodeJS.ProcessEnv
  /** Ends the child. */
  readonly signal?: AbortSignal
}

/** A program did not do what it was started for. */
export class ChildFailed extends Error {
  override readonly name = 'ChildFailed'
}

export interface Server extends AsyncDisposable {
  /** Base URL with its `/v1`, as its start line gives it. */
  readonly url: string
  stop(): Promise<void>
}

/**
 * Starts a server and waits until it says where it listens.
 *
 * @throws ChildFailed with what it wrote, when it ends before that
 */
export async function startServer(options: ChildOptions): Promise<Server> {
  const child = spawn(process.execPath, [options.script, ...options.args], {
    env: options.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  endOn(options.signal, child)
  const errors = collectEnd(child)
  const url = await new Promise<string>((resolve, reject) => {
    const lines = createInterface({ input: child.stdout })
    lines.on('line', (line) => {
      const found = /listens on (http:\S+)/.exec(line)?.[1]
      if (found !== undefined) resolve(found)
    })
    child.once('error', reject)
    child.once('close', (code) => reject(new ChildFailed(`${options.name} ended (${code}):\n${errors()}`)))
  })
  let stopping: Promise<void> | undefined
  const stop = (): Promise<void> => {
    stopping ??= end(child)
    return stopping
  }
  return { url, stop, [Symbol.asyncDispose]: stop }
}

/**
 * Runs a program to its end.
 *
 * @param onLine each line of its standard output; its standard error is shown when it fails, or as it comes
 * with `live`
 * @throws ChildFailed when it does not exit with 0
 */
export async function runToEnd(
  options: ChildOptions,
  onLine: (line: string) => void,
  { live = false }: { live?: boolean } = {},
): Promise<void> {
  const child = spawn(process.execPath, [options.script, ...options.args], {
    env: options.env,
    stdio: ['ignore', 'pipe', live ? 'inherit' : 'pipe'],
  })
  endOn(options.signal, child)
  const errors = collectEnd(child)
  if (child.stdout === null) throw new ChildFailed(`${options.name} has no output to read`)
  const lines = createInterface({ input: child.stdout })
  lines.on('line', onLine)
  const closed = once(lines, 'close')
  const [code] = await once(child, 'close')
  await closed
  if (code !== 0) throw new ChildFailed(`${options.name} ended with ${code}.\n${errors()}`.trimEnd())
}

function endOn(signal: AbortSignal | undefined, child: ChildProcess): void {
  if (signal === undefined) return
  const kill = (): void => void child.kill('SIGTERM')
  if (signal.aborted) kill()
  signal.addEventListener('abort', kill, { once: true })
  child.once('close', () => signal.removeEventListener('abort', kill))
}

/** The last of what it writes to standard error. */
function collectEnd(child: ChildProcess): () => string {
  let text = ''
  child.stderr?.setEncoding('utf8').on('data', (piece: string) => {
    text = (text + piece).slice(-4000)
  })
  return () => text
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const closed = once(child, 'close')
  child.kill('SIGTERM')
  const impatience = setTimeout(() => child.kill('SIGKILL'), 10_000)
  await closed
  clearTimeout(impatience)
}
