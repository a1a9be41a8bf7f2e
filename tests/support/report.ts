/** A report with every part filled, made by the real evaluation and gate from answers of a known share right. */
import { capturedFrontier, evaluate } from '../../judge/evaluate.ts'
import { decide } from '../../judge/gate.ts'
import { scorers } from '../../judge/scorers/registry.ts'
import { gatePolicy, type HeldOutRow } from '../../src/contract/index.ts'
import type { RunReport } from '../../src/ops/report/report.ts'

export interface SampleOptions {
  /** Held-out calls, in sessions of two. */
  calls?: number
  /** Every how manyth answer of the owned model is wrong. */
  ownedWrongEach?: number
  /** Stands in one request, in every answer of its row, in the notes and the facts. */
  hostile?: string
  steps?: number
}

const outcomes = ['Refund of order', 'Exchange of order', 'Address of order', 'Cancel order', 'Track order']

export async function sampleReport(options: SampleOptions = {}): Promise<RunReport> {
  const { calls = 300, ownedWrongEach = 40, hostile, steps = 240 } = options
  const rows = Array.from({ length: calls }, (_, index): HeldOutRow => {
    const reference = `${outcomes[index % outcomes.length] ?? ''} ${1000 + index}`
    const text = `Hello, I bought something last week under number ${1000 + index} and would like help with it, please.`
    return {
      promptNode: `p${index}`,
      session: `s${Math.floor(index / 2)}`,
      messages: [{ role: 'user', content: index === 0 && hostile !== undefined ? hostile : text }],
      tools: [],
      reference,
      referenceFrom: 'imported',
      frontier:
        index % 7 === 3
          ? `Track order ${1000 + index}`
          : index === 0 && hostile !== undefined
            ? hostile
            : reference,
      maxTokens: null,
    }
  })
  const answers = (wrong: (index: number) => boolean) => (all: readonly HeldOutRow[]) =>
    all.map((row, index) => {
      if (index === 0 && hostile !== undefined) return hostile
      return wrong(index) ? `Track order ${index}` : row.reference
    })
  const contenders = {
    base: answers((index) => index % 12 !== 0),
    nearest: answers((index) => index % 2 === 1),
    frontier: capturedFrontier,
    owned: answers((index) => index % ownedWrongEach === ownedWrongEach - 1),
  }
  const evaluated = await evaluate({ rows, contenders, scorer: scorers.exact, confidence: 0.95 })
  const judgeEndpoint = { baseUrl: 'http://localhost:9000/v1', model: 'stand-in-judge' }
  const decision = decide(evaluated, gatePolicy.parse({}), {
    judgeEndpoint,
    gateSource: { kind: 'scorer', scorer: 'exact' },
  })
  return {
    task: 'support-desk',
    version: 'owned/support-desk@1',
    decision,
    evaluation: evaluated.evaluation,
    rows: evaluated.rows,
    metrics: Array.from({ length: steps }, (_, index) => ({
      step: index + 1,
      epoch: (3 * (index + 1)) / steps,
      loss:
        3.2 * Math.exp(-index / 30) +
        0.05 +
        0.12 * Math.abs(Math.sin(index * 12.9898)) * Math.exp(-index / 120),
      lr: 1e-3,
      grad_norm: 1,
      target_tokens: 210,
      tokens: 1850 * (index + 1),
      unique_token_ratio: 0.4,
      tokens_per_s: 620,
      elapsed_s: 3 * (index + 1),
      peak_mem_gb: (1.4 * 2 ** 30) / 1e9,
    })),
    stages: [
      {
        name: 'collect',
        tookMs: 410,
        reused: false,
        facts: {
          calls: 912,
          sessions: 600,
          trajectories: 780,
          'unique tokens': 48_210,
          'total tokens': 131_904,
        },
      },
      {
        name: 'split',
        tookMs: 12,
        reused: false,
        facts: { 'training sessions': 450, 'held-out sessions': 150, 'copies dropped': 4 },
      },
      { name: 'group', tookMs: 8, reused: true, facts: { groups: 640, 'with several replies': 171 } },
      {
        name: 'judge',
        tookMs: 3_420,
        reused: false,
        facts: {
          verdicts: 640,
          'judge calls': 640,
          tokens: 301_200,
          'wrong answers kept out': '118 of 124',
          ...(hostile === undefined ? {} : { hostile }),
        },
      },
      { name: 'dataset', tookMs: 40, reused: false, facts: { rows: 481, 'turns that carry loss': 522 } },
      { name: 'train', tookMs: 720_000, reused: false, facts: { steps, 'peak memory': '1.4 GiB' } },
      { name: 'evaluate', tookMs: 95_000, reused: false, facts: { answers: 1200 } },
      { name: 'gate', tookMs: 60, reused: false, facts: {} },
      { name: 'promote', tookMs: 90, reused: false, facts: { route: 'owned/support-desk@1' } },
    ],
    notes: [
      'The task has one judge; it chose what was trained on, so a reference scorer gates.',
      ...(hostile === undefined ? [] : [hostile]),
    ],
    models: { base: 'smollm2-135m-instruct', frontier: 'stand-in-frontier', judge: 'stand-in-judge' },
    createdAt: Date.UTC(2026, 10, 23, 14, 5),
  }
}
