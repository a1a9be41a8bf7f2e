/**
 * `npm run demo`: a support desk's traffic is captured, judged, learnt and taken over, in one sitting on one
 * machine. See README.md beside this file for what is real here and what stands in.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus, totalmem } from 'node:os'
import { join, resolve } from 'node:path'
import type { AgentReport } from '../support-desk/agent.ts'
import type { Server } from './children.ts'
import {
  type Figure,
  figuresOf,
  figureTable,
  isRight,
  parseDataset,
  type RunResult,
  share,
} from './figures.ts'
import { type MemorySampler, sampleMemory } from './memory-sampler.ts'
import { durationText, Narrator } from './narrator.ts'
import { type DemoOptions, parseOptions, usage } from './options.ts'
import { taskName, Workplace } from './workplace.ts'

interface Captured {
  readonly training: readonly AgentReport[]
  readonly heldOut: readonly AgentReport[]
}

async function demo(options: DemoOptions): Promise<void> {
  const begun = performance.now()
  const narrator = new Narrator(5, (text) => process.stdout.write(text))
  await using stack = new AsyncDisposableStack()
  const memory = stack.use(sampleMemory(process.pid))
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort())
  const workplace = await Workplace.open(options, stop.signal)
  narrator.say(`The demo lives in ${workplace.home}`)

  const servers = await narrator.phase('Starting the proxy between an agent and its frontier', async () => {
    const frontier = options.upstream === null ? stack.use(await workplace.startFrontier()) : null
    const judge = stack.use(await workplace.startJudge())
    const proxy = stack.use(await workplace.startProxy(frontier?.url ?? options.upstream ?? ''))
    const who =
      frontier === null ? `the frontier at ${options.upstream}` : 'a stand-in frontier (a rule book)'
    return { says: `Shadow listens on ${proxy.url}, before ${who}`, value: { frontier, judge, proxy } }
  })

  const captured = await narrator.phase(
    `An agent works through ${options.sessions} support sessions; Shadow passes every call on and keeps it`,
    () => capture(workplace, servers.proxy, options),
  )

  await narrator.phase(
    `Task ${taskName}: who judges, what is held out, which answers are right`,
    async () => {
      await workplace.setTask(servers.judge)
      const references = await workplace.importReferences(captured.heldOut)
      return {
        says: `the newest ${options.heldOut} sessions are only measured on, against ${references} right answers`,
        value: null,
      }
    },
  )

  const result = await narrator.phase(
    'shadow run: judge the answers, train a model on the good ones, measure it, decide',
    async () => {
      const value = await workplace.run((line) => {
        if (line !== '') narrator.say(`      ${line}`)
      })
      return { says: value.promoted ? `${value.version} takes over` : 'the gate refused', value }
    },
  )

  const takeover = result.promoted
    ? await takeOver(narrator, workplace, servers, options)
    : await stayWithFrontier(narrator, workplace, servers.proxy)

  const dataset = parseDataset(
    await readFile(join(resolve(workplace.home, result.datasetFolder), 'train.jsonl'), 'utf8'),
  )
  const figures = figuresOf({
    result,
    training: captured.training,
    dataset,
    takeover,
    tookMs: performance.now() - begun,
    peakBytes: memory.peakBytes(),
  })
  await report(narrator, workplace, result, figures, memory)
}

async function capture(
  workplace: Workplace,
  proxy: Server,
  { sessions, heldOut }: DemoOptions,
): Promise<{ says: string; value: Captured }> {
  const kept = {
    training: await workplace.keptReports('train'),
    heldOut: await workplace.keptReports('heldout'),
  }
  const training = kept.training ?? (await workplace.playAgent(proxy, 'train', sessions - heldOut))
  const held = kept.heldOut ?? (await workplace.playAgent(proxy, 'heldout', heldOut))
  const all = [...training, ...held]
  const wrong = all.filter((each) => !isRight(each)).length
  const again = all.filter(({ attempt }) => attempt > 0).length
  return {
    says: `${all.length} calls, ${again} of them the same request sent again; ${wrong} of the answers are wrong`,
    value: { training, heldOut: held },
  }
}

/** The second run: the same agent and base URL, and no frontier. */
async function takeOver(
  narrator: Narrator,
  workplace: Workplace,
  { frontier, proxy }: { frontier: Server | null; proxy: Server },
  options: DemoOptions,
): Promise<AgentReport[]> {
  const title =
    frontier === null
      ? 'The same agent, requests nobody has seen (a real frontier can not be stopped; see who answers)'
      : 'The frontier is stopped; the same agent, the same base URL, requests nobody has seen'
  return await narrator.phase(title, async () => {
    await frontier?.stop()
    const reports = await workplace.playAgent(proxy, 'fresh', options.fresh)
    const exact = share(reports, isRight) ?? 0
    return { says: `${reports.length} calls, ${(100 * exact).toFixed(1)} % exactly right`, value: reports }
  })
}

async function stayWithFrontier(
  narrator: Narrator,
  workplace: Workplace,
  proxy: Server,
): Promise<AgentReport[]> {
  return await narrator.phase('The model was refused, so the frontier goes on answering', async () => {
    const reports = await workplace.playAgent(proxy, 'fresh', 4)
    const byOwned = reports.filter(({ servedBy }) => servedBy?.startsWith('owned/') ?? false).length
    return {
      says: `${reports.length - byOwned} of ${reports.length} new calls were answered by the frontier`,
      value: [],
    }
  })
}

async function report(
  narrator: Narrator,
  workplace: Workplace,
  result: RunResult,
  figures: readonly Figure[],
  memory: MemorySampler,
): Promise<void> {
  const path = join(workplace.home, 'demo-report.json')
  const content = {
    command: ['npm run demo --', ...process.argv.slice(2)].join(' '),
    date: new Date().toISOString(),
    machine: { cpu: cpus()[0]?.model ?? 'unknown', cores: availableParallelism(), memoryBytes: totalmem() },
    versions: { node: process.versions.node },
    refused: !result.promoted,
    sentence: result.decision.sentence,
    peakBytes: memory.peakBytes(),
    rows: figures,
  }
  await writeFile(path, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 })
  narrator.say(`\n${result.decision.sentence}\n\n${figureTable(figures)}\n`)
  narrator.say(`Report   ${resolve(workplace.home, result.reportHtml)}\nFigures  ${path}`)
}

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2))
  if (options === null) {
    process.stdout.write(usage)
    return
  }
  if (options.upstream !== null && (process.env['OPENAI_API_KEY'] ?? '') === '') {
    throw new RangeError(
      '--upstream needs its key: set OPENAI_API_KEY (and OPENAI_MODEL for the model to ask).',
    )
  }
  const begun = performance.now()
  await demo(options)
  process.stdout.write(`Done in ${durationText(performance.now() - begun)}.\n`)
}

try {
  await main()
} catch (error) {
  process.stderr.write(`\nThe demo stopped: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
