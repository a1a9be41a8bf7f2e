/** The demo's own SHADOW_HOME, and the programs that run in it. */
import { createWriteStream } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cacheDir, privateDir, shadowHome } from '../../src/setup/paths.mjs'
import type { AgentReport } from '../support-desk/agent.ts'
import type { Split } from '../support-desk/wordings/wording.ts'
import { runToEnd, type Server, startServer } from './children.ts'
import { agentReport, type RunResult, runResult } from './figures.ts'
import type { DemoOptions } from './options.ts'

export const taskName = 'support-desk'

const rubric =
  'The answer is the one action line that the rule book of the support desk gives for the last request, with the values copied exactly.'

export class Workplace {
  readonly home: string
  readonly #env: NodeJS.ProcessEnv
  readonly #options: DemoOptions
  readonly #signal: AbortSignal

  private constructor(home: string, options: DemoOptions, signal: AbortSignal) {
    this.home = home
    this.#options = options
    this.#signal = signal
    this.#env = { ...process.env, SHADOW_HOME: home, SHADOW_CACHE: cacheDir() }
  }

  /**
   * Emptied first, unless the options keep what is there.
   *
   * @param signal ends every child
   */
  static async open(options: DemoOptions, signal: AbortSignal): Promise<Workplace> {
    const home = join(shadowHome(), 'demo')
    if (!options.keep) await rm(home, { recursive: true, force: true })
    await mkdir(join(shadowHome()), { recursive: true })
    return new Workplace(privateDir(home), options, signal)
  }

  startFrontier(): Promise<Server> {
    return this.#startStandIn('frontier')
  }

  startJudge(): Promise<Server> {
    return this.#startStandIn('judge')
  }

  /** @param upstream base URL of the frontier, with its /v1 */
  startProxy(upstream: string): Promise<Server> {
    return startServer({
      name: 'shadow serve',
      script: programs.shadow,
      args: ['serve', '--port', '0', '--upstream', upstream, '--log-level', 'error'],
      env: this.#env,
      signal: this.#signal,
    })
  }

  /**
   * Lets the agent play sessions of a split against the proxy; what it reports is kept in `agent-SPLIT.jsonl`.
   *
   * @throws ChildFailed when a request of the agent fails
   */
  async playAgent(proxy: Server, split: Split, count: number): Promise<AgentReport[]> {
    const { seed, upstream } = this.#options
    const base = new URL(`/tasks/${taskName}/v1`, proxy.url).href
    const reports: AgentReport[] = []
    const file = createWriteStream(this.#agentFile(split), { mode: 0o600 })
    const args = ['--split', split, '--sessions', `0..${count}`, '--seed', String(seed)]
    if (upstream !== null) args.push('--guide')
    const key = upstream === null ? 'demo' : process.env['OPENAI_API_KEY']
    await runToEnd(
      {
        name: 'the agent',
        script: programs.agent,
        args,
        env: { ...this.#env, OPENAI_BASE_URL: base, OPENAI_API_KEY: key },
        signal: this.#signal,
      },
      (line) => {
        file.write(`${line}\n`)
        reports.push(agentReport.parse(JSON.parse(line)))
      },
    )
    await new Promise<void>((done) => file.end(done))
    return reports
  }

  /** What the agent reported in an earlier demo; null when it did not. */
  async keptReports(split: Split): Promise<AgentReport[] | null> {
    if (!this.#options.keep) return null
    const text = await readFile(this.#agentFile(split), 'utf8').catch(() => null)
    return text === null
      ? null
      : text
          .trim()
          .split('\n')
          .map((line) => agentReport.parse(JSON.parse(line)))
  }

  /** Imports the rule book's answers to the held-out requests, as they were asked. */
  async importReferences(reports: readonly AgentReport[]): Promise<number> {
    const lines = new Set(reports.map(({ messages, right }) => JSON.stringify({ messages, answer: right })))
    const file = join(this.home, 'references.jsonl')
    await writeFile(file, [...lines].map((line) => `${line}\n`).join(''), { mode: 0o600 })
    await this.shadow(['references', 'import', taskName, file])
    return lines.size
  }

  setTask(judge: Server): Promise<void> {
    const { heldOut, steps } = this.#options
    const settings = [
      `judge.baseUrl=${judge.url}`,
      'judge.model=stand-in-judge',
      `rubric=${rubric}`,
      `holdOut.sessions=${heldOut}`,
      // A line of the desk is far shorter; an untrained model would ramble on to any limit.
      'serve.maxTokens=48',
      // Some 340 rows are few: smaller steps make more of them.
      'train.per_device_train_batch_size=8',
      'train.warmup_ratio=0.05',
      ...(steps === null ? [] : [`train.max_steps=${steps}`]),
    ]
    return this.shadow(['tasks', 'set', taskName, ...settings])
  }

  /** @throws ChildFailed when the run fails */
  async run(onLine: (line: string) => void): Promise<RunResult> {
    let last: RunResult | null = null
    await this.shadow(
      ['run', '--task', taskName, '--json'],
      (line) => {
        if (line.startsWith('{')) last = runResult.parse(JSON.parse(line))
        else onLine(line)
      },
      true,
    )
    if (last === null) throw new Error('`shadow run --json` ended without its line of JSON.')
    return last
  }

  async shadow(
    args: readonly string[],
    onLine: (line: string) => void = () => {},
    live = false,
  ): Promise<void> {
    const name = `shadow ${args.slice(0, 2).join(' ')}`
    await runToEnd({ name, script: programs.shadow, args, env: this.#env, signal: this.#signal }, onLine, {
      live,
    })
  }

  #startStandIn(which: 'frontier' | 'judge'): Promise<Server> {
    return startServer({
      name: `the stand-in ${which}`,
      script: programs[which],
      args: ['--port', '0', '--seed', String(this.#options.seed)],
      env: this.#env,
      signal: this.#signal,
    })
  }

  #agentFile(split: Split): string {
    return join(this.home, `agent-${split}.jsonl`)
  }
}

const programs = {
  shadow: pathOf('../../src/cli/main.ts'),
  agent: pathOf('../support-desk/agent.ts'),
  frontier: pathOf('../support-desk/frontier.ts'),
  judge: pathOf('../support-desk/judge.ts'),
}

function pathOf(relative: string): string {
  return fileURLToPath(new URL(relative, import.meta.url))
}
