/** The servers of the benchmark, each a process of its own, and their homes. */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startPortkey } from './portkey.ts'

export class Servers {
  private readonly children: ChildProcess[] = []
  private readonly homes: string[] = []

  static async start(): Promise<{ servers: Servers; direct: string; relay: string }> {
    const servers = new Servers()
    const { origin: direct } = await servers.fork('upstream.ts')
    const { origin: relay } = await servers.fork('relay.ts', { BENCH_UPSTREAM: direct })
    return { servers, direct, relay }
  }

  async home(): Promise<string> {
    const home = await mkdtemp(join(tmpdir(), 'shadow-bench-'))
    this.homes.push(home)
    return home
  }

  async shadow(
    upstream: string,
    home: string,
    synchronous: 'normal' | 'full' = 'normal',
  ): Promise<{ origin: string; child: ChildProcess }> {
    return this.fork('shadow.ts', {
      BENCH_UPSTREAM: upstream,
      BENCH_HOME: home,
      BENCH_SYNCHRONOUS: synchronous,
    })
  }

  /** @returns bytes of the unique messages */
  async fill(home: string, messages: number, messageBytes: number): Promise<number> {
    const child = fork(join(import.meta.dirname, 'fill.ts'), {
      env: {
        ...process.env,
        BENCH_HOME: home,
        BENCH_MESSAGES: String(messages),
        BENCH_MESSAGE_BYTES: String(messageBytes),
      },
    })
    this.children.push(child)
    return new Promise((resolve, reject) => {
      let bytes: number | null = null
      child.once('message', (message) => {
        bytes = Number(message)
      })
      child.once('exit', (code) => {
        if (bytes === null) reject(new Error(`Filling a store ended with code ${code}.`))
        else resolve(bytes)
      })
    })
  }

  /** Waits until Shadow's tables hold every call. */
  async settled(child: ChildProcess): Promise<void> {
    await ask(child, 'settle')
  }

  /** The same, and returns its resident memory in bytes when garbage is collected. */
  async memory(child: ChildProcess): Promise<number> {
    return Number(await ask(child, 'memory'))
  }

  async portkey(): Promise<string> {
    const { child, origin } = await startPortkey()
    this.children.push(child)
    return origin
  }

  async stop(child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exit = new Promise((resolve) => child.once('exit', resolve))
    child.kill(signal)
    await exit
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.children) await this.stop(child)
    for (const home of this.homes) await rm(home, { recursive: true, force: true })
  }

  private async fork(
    file: string,
    env: Record<string, string> = {},
  ): Promise<{ origin: string; child: ChildProcess }> {
    const child = fork(join(import.meta.dirname, file), {
      execArgv: ['--expose-gc'],
      env: { ...process.env, ...env },
    })
    this.children.push(child)
    const port = await new Promise<number>((resolve, reject) => {
      child.once('message', (message) => resolve(Number(message)))
      child.once('exit', (code) => reject(new Error(`A server of the benchmark ended with code ${code}.`)))
    })
    return { origin: `http://127.0.0.1:${port}`, child }
  }
}

function ask(child: ChildProcess, question: 'settle' | 'memory'): Promise<unknown> {
  const answer = new Promise<unknown>((resolve) => child.once('message', resolve))
  child.send(question)
  return answer
}
