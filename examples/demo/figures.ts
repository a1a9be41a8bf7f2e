/** What the demo measured, as rows: the table on the terminal and `demo-report.json` say the same. */
import { z } from 'zod'
import { datasetRow, type DatasetRow, evaluation, gateDecision, textOf } from '../../src/contract/index.ts'
import type { AgentReport } from '../support-desk/agent.ts'

/** The last line of `shadow run --json`, as far as the demo needs it. */
export const runResult = z.looseObject({
  runId: z.string(),
  datasetFolder: z.string(),
  heldOutPath: z.string(),
  evaluation,
  decision: gateDecision,
  version: z.string().nullable(),
  promoted: z.boolean(),
  reportHtml: z.string(),
})
export type RunResult = z.infer<typeof runResult>

/** One line of `agent.ts`'s output. */
export const agentReport: z.ZodType<AgentReport> = z.object({
  session: z.string(),
  turn: z.number(),
  attempt: z.number(),
  streamed: z.boolean(),
  messages: z.array(z.object({ role: z.enum(['system', 'user', 'assistant']), content: z.string() })),
  answer: z.string(),
  right: z.string(),
  servedBy: z.string().nullable(),
  tookMs: z.number(),
})

/** A figure in the shape of the benchmarks. `must` and `aim` are bounds in the row's unit. */
export interface Figure {
  readonly id: string
  readonly what: string
  readonly value: number | null
  readonly unit: string
  readonly baseline: number | null
  readonly ratio: number | null
  readonly must: string | null
  readonly aim: string | null
  readonly ok: boolean
}

export interface Measured {
  readonly result: RunResult
  readonly training: readonly AgentReport[]
  readonly dataset: readonly DatasetRow[]
  /** After the takeover; empty when the gate refused. */
  readonly takeover: readonly AgentReport[]
  readonly tookMs: number
  readonly peakBytes: number | null
}

export function figuresOf(measured: Measured): Figure[] {
  const { base, nearest, frontier, owned } = measured.result.evaluation.scores
  const n = `${measured.result.evaluation.calls} calls of ${measured.result.evaluation.sessions} held-out sessions`
  const caught = caughtShare(measured.training, measured.dataset)
  const { takeover } = measured
  const exact = share(takeover, isRight)
  const ownedShare = share(takeover, isOwned)
  const minutes = measured.tookMs / 60_000
  const gigabytes = measured.peakBytes === null ? null : measured.peakBytes / 1e9
  const ownedPercent = percent(owned.mean)
  const frontierPercent = percent(frontier.mean)
  return [
    figure('demo.accuracy.owned', `owned model, exact match with the rule book, ${n}`, ownedPercent, '%', {
      baseline: frontierPercent,
      must: '≥ 93 and above the frontier',
      aim: '≥ 97',
      ok: owned.mean >= 0.93 && owned.mean > frontier.mean,
    }),
    figure('demo.accuracy.frontier', 'frontier, by its first answers', frontierPercent, '%', {}),
    figure('demo.accuracy.base', 'base model under the same instruction', percent(base.mean), '%', {
      must: '≤ 20',
      ok: base.mean <= 0.2,
    }),
    figure(
      'demo.accuracy.nearest',
      'nearest-neighbour look-up in the training set',
      percent(nearest.mean),
      '%',
      {
        must: '≤ 60',
        ok: nearest.mean <= 0.6,
      },
    ),
    figure(
      'demo.judge.caught',
      'wrong answers kept out of the training targets',
      percentOrNull(caught),
      '%',
      {
        must: '≥ 90',
        ok: caught !== null && caught >= 0.9,
      },
    ),
    figure(
      'demo.takeover.exact',
      measured.result.promoted
        ? `second run, frontier stopped, ${takeover.length} unseen requests, exact match`
        : 'no second run: the gate refused the model',
      percentOrNull(exact),
      '%',
      { must: '≥ 90', ok: exact !== null && exact >= 0.9 },
    ),
    figure(
      'demo.takeover.owned_share',
      measured.result.promoted
        ? 'second run, calls answered without the frontier'
        : 'no second run: the gate refused the model',
      percentOrNull(ownedShare),
      '%',
      { must: '= 100', ok: ownedShare === 1 },
    ),
    figure('demo.time', 'the whole demo', round(minutes, 2), 'min', { must: '≤ 25', ok: minutes <= 25 }),
    figure(
      'demo.memory',
      gigabytes === null
        ? 'peak memory could not be measured: /proc does not tell PSS here'
        : 'peak memory: sum of PSS over the process tree, every 0.5 s',
      gigabytes === null ? null : round(gigabytes, 2),
      'GB',
      { must: '≤ 3', ok: gigabytes !== null && gigabytes <= 3 },
    ),
  ]
}

function figure(
  id: string,
  what: string,
  value: number | null,
  unit: string,
  more: { baseline?: number; must?: string; aim?: string; ok?: boolean },
): Figure {
  const baseline = more.baseline ?? null
  return {
    id,
    what,
    value,
    unit,
    baseline,
    ratio: value === null || baseline === null || baseline === 0 ? null : round(value / baseline, 3),
    must: more.must ?? null,
    aim: more.aim ?? null,
    ok: more.ok ?? true,
  }
}

/** Of the distinct wrong answers captured in training sessions, the share that no row teaches; null without any. */
export function caughtShare(training: readonly AgentReport[], dataset: readonly DatasetRow[]): number | null {
  const wrong = new Set(
    training.filter((report) => !isRight(report)).map(({ messages, answer }) => targetKey(messages, answer)),
  )
  if (wrong.size === 0) return null
  const taught = new Set(dataset.flatMap(taughtKeys))
  return 1 - wrong.intersection(taught).size / wrong.size
}

function taughtKeys({ messages, loss }: DatasetRow): string[] {
  const said = messages.map((message) => ({ role: message.role, content: textOf(message) }))
  return said.flatMap((message, index) =>
    (loss[index] ?? 0) > 0 ? [targetKey(said.slice(0, index), message.content)] : [],
  )
}

function targetKey(messages: readonly { role: string; content: string }[], answer: string): string {
  return JSON.stringify([messages.map(({ role, content }) => [role, content]), answer])
}

export function isRight({ answer, right }: AgentReport): boolean {
  return answer.trim() === right
}

function isOwned({ servedBy }: AgentReport): boolean {
  return servedBy?.startsWith('owned/') ?? false
}

/** Null of nothing. */
export function share<T>(items: readonly T[], test: (item: T) => boolean): number | null {
  return items.length === 0 ? null : items.filter(test).length / items.length
}

function percent(fraction: number): number {
  return round(100 * fraction, 1)
}

function percentOrNull(fraction: number | null): number | null {
  return fraction === null ? null : percent(fraction)
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}

/** @throws when a line is no dataset row */
export function parseDataset(text: string): DatasetRow[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => datasetRow.parse(JSON.parse(line)))
}

/** One line a figure; `!` marks a figure that misses its bound. */
export function figureTable(figures: readonly Figure[]): string {
  const width = Math.max(...figures.map(({ what }) => what.length))
  return figures
    .map(({ what, value, unit, must, ok }) => {
      const number = (value === null ? 'none' : `${value} ${unit}`).padStart(10)
      const bound = must === null ? '' : `  must ${must}${ok ? '' : '  !'}`
      return `  ${what.padEnd(width)} ${number}${bound}`
    })
    .join('\n')
}
