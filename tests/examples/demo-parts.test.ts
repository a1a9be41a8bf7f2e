import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { runToEnd, startServer } from '../../examples/demo/children.ts'
import {
  agentReport,
  caughtShare,
  figuresOf,
  figureTable,
  parseDataset,
} from '../../examples/demo/figures.ts'
import { sampleMemory, treePssBytes } from '../../examples/demo/memory-sampler.ts'
import { parseOptions } from '../../examples/demo/options.ts'
import type { AgentReport } from '../../examples/support-desk/agent.ts'
import { shortInstruction } from '../../examples/support-desk/instructions.ts'
import { fileURLToPath } from 'node:url'

const scripts = fileURLToPath(new URL('../../examples/support-desk/', import.meta.url))

function reportOf(user: string, answer: string, right: string, servedBy: string | null = null): AgentReport {
  const messages = [
    { role: 'system' as const, content: shortInstruction },
    { role: 'user' as const, content: user },
  ]
  return { session: 's', turn: 0, attempt: 0, streamed: false, messages, answer, right, servedBy, tookMs: 1 }
}

function rowOf(report: AgentReport, loss: number): string {
  const messages = [...report.messages, { role: 'assistant', content: report.answer }]
  return JSON.stringify({ leaf: 'x', messages, tools: [], loss: [0, 0, loss] })
}

const estimate = (mean: number) => ({ mean, low: mean - 0.02, high: mean + 0.02 })

const result = {
  runId: 'r',
  datasetFolder: 'd',
  heldOutPath: 'h',
  evaluation: {
    scorer: 'exact',
    referenceFrom: { imported: 10 },
    calls: 10,
    sessions: 8,
    confidence: 0.95,
    scores: { base: estimate(0), nearest: estimate(0.2), frontier: estimate(0.85), owned: estimate(0.96) },
    difference: estimate(0.11),
  },
  decision: {
    promote: true,
    sentence: 'It is better.',
    evidence: { calls: 10, minimumSample: 5, margin: 0.02, confidence: 0.95, lowerBound: 0.08 },
  },
  version: 'owned/support-desk@1',
  promoted: true,
  reportHtml: 'report.html',
}

describe('the figures', () => {
  const wrong = ['a', 'b', 'c', 'd'].map((user) => reportOf(user, 'wrong', 'right'))
  const right = reportOf('e', 'right', 'right')

  it('count a wrong answer as caught when no row teaches it', () => {
    const [first, second] = wrong
    if (first === undefined || second === undefined) throw new Error('no reports')
    const dataset = parseDataset([rowOf(first, 1), rowOf(second, 0), rowOf(right, 1)].join('\n'))
    expect(caughtShare([...wrong, ...wrong, right], dataset)).toBe(0.75)
    expect(caughtShare([right], dataset)).toBeNull()
  })

  it('hold a good demo for good and say what a bad one misses', () => {
    const takeover = [reportOf('f', 'right', 'right', 'owned/support-desk@1')]
    const good = figuresOf({ result, training: wrong, dataset: [], takeover, tookMs: 60_000, peakBytes: 1e9 })
    expect(good.every(({ ok }) => ok)).toBe(true)
    expect(good.find(({ id }) => id === 'demo.accuracy.owned')).toMatchObject({
      value: 96,
      baseline: 85,
      ratio: 1.129,
    })
    expect(figureTable(good)).not.toContain('!')

    const bad = figuresOf({
      result: { ...result, promoted: false },
      training: wrong,
      dataset: parseDataset(wrong.map((report) => rowOf(report, 1)).join('\n')),
      takeover: [],
      tookMs: 26 * 60_000,
      peakBytes: null,
    })
    expect(bad.filter(({ ok }) => !ok).map(({ id }) => id)).toEqual([
      'demo.judge.caught',
      'demo.takeover.exact',
      'demo.takeover.owned_share',
      'demo.time',
      'demo.memory',
    ])
    expect(figureTable(bad)).toContain('the gate refused the model')
  })

  it('do not count a call that the frontier answered as taken over', () => {
    const takeover = [
      reportOf('f', 'right', 'right', 'owned/support-desk@1'),
      reportOf('g', 'right', 'right', 'upstream'),
    ]
    const rows = figuresOf({ result, training: wrong, dataset: [], takeover, tookMs: 1, peakBytes: 1 })
    expect(rows.find(({ id }) => id === 'demo.takeover.owned_share')).toMatchObject({ value: 50, ok: false })
  })
})

describe('the memory sampler', () => {
  it.runIf(process.platform === 'linux')('adds up a process and its children', async () => {
    const alone = (await treePssBytes(process.pid)) ?? 0
    const child = spawn(process.execPath, [
      '-e',
      'const b = Buffer.alloc(80e6, 1); console.log(b.length); setInterval(() => b.length, 1000)',
    ])
    await using sampler = sampleMemory(process.pid, 20)
    await once(child.stdout, 'data')
    const both = (await treePssBytes(process.pid)) ?? 0
    const deadline = Date.now() + 5000
    while ((sampler.peakBytes() ?? 0) < alone + 70e6 && Date.now() < deadline)
      await new Promise((r) => setTimeout(r, 20))
    child.kill('SIGKILL')
    await once(child, 'close')
    expect(alone).toBeGreaterThan(1e6)
    expect(both - alone).toBeGreaterThan(70e6)
    expect(sampler.peakBytes()).toBeGreaterThan(alone + 70e6)
  })
})

describe('the children', () => {
  it('are servers that say where they listen, and programs that report', async () => {
    await using frontier = await startServer({
      name: 'frontier',
      script: `${scripts}frontier.ts`,
      args: ['--port', '0', '--seed', '1'],
      env: process.env,
    })
    const reports: AgentReport[] = []
    await runToEnd(
      {
        name: 'agent',
        script: `${scripts}agent.ts`,
        args: ['--split', 'fresh', '--sessions', '2..6', '--seed', '1'],
        env: { ...process.env, OPENAI_BASE_URL: frontier.url, OPENAI_API_KEY: 'demo' },
      },
      (line) => reports.push(agentReport.parse(JSON.parse(line))),
    )
    expect(new Set(reports.map(({ session }) => session))).toEqual(
      new Set(['fresh-2', 'fresh-3', 'fresh-4', 'fresh-5']),
    )
    expect(reports.every(({ servedBy }) => servedBy === null)).toBe(true)
    await frontier.stop()
    await expect(fetch(`${frontier.url}/models`)).rejects.toThrow('fetch failed')
  })

  it('end when they are told to', async () => {
    const stop = new AbortController()
    const options = {
      name: 'frontier',
      script: `${scripts}frontier.ts`,
      args: [],
      env: process.env,
      signal: stop.signal,
    }
    await using frontier = await startServer(options)
    const running = runToEnd(options, () => stop.abort())
    await expect(running).resolves.toBeUndefined()
    await frontier.stop()
    await expect(fetch(`${frontier.url}/models`)).rejects.toThrow('fetch failed')
  })

  it('fail with what they said', async () => {
    const options = {
      name: 'agent',
      script: `${scripts}agent.ts`,
      args: ['--split', 'winter'],
      env: { ...process.env, OPENAI_API_KEY: 'demo' },
    }
    await expect(runToEnd(options, () => {})).rejects.toThrow(/agent ended with 1[\s\S]*winter/)
    await expect(startServer(options)).rejects.toThrow(/winter/)
  })
})

describe('the options', () => {
  it('have the defaults of a whole demo', () => {
    expect(parseOptions([])).toEqual({
      sessions: 600,
      heldOut: 160,
      fresh: 60,
      steps: null,
      upstream: null,
      seed: 1,
      keep: false,
    })
  })

  it.each([
    [['--steps', '0'], /whole number/],
    [['--sessions', '10', '--held-out', '10'], /smaller/],
    [['--stepps', '5'], /stepps/],
  ])('refuse %j', (args, words) => {
    expect(() => parseOptions(args)).toThrow(words)
  })
})
