import { describe, expect, it } from 'vitest'
import { capturedFrontier, evaluate, type EvaluationInput } from '../../judge/evaluate.ts'
import { decide, type GateContext } from '../../judge/gate.ts'
import { examplesOf, nearestNeighbour } from '../../judge/nearest-neighbour.ts'
import { scorers } from '../../judge/scorers/registry.ts'
import {
  evaluatedRow,
  evaluation as evaluationSchema,
  gateDecision,
  gatePolicy,
  type HeldOutRow,
  lastUserText,
  type Sampler,
} from '../../src/contract/index.ts'

/** Held-out rows in sessions of two calls; row n asks "n" and is rightly answered "n". */
function rowsOf(count: number, more: Partial<HeldOutRow> = {}): HeldOutRow[] {
  return Array.from({ length: count }, (_, index) => ({
    promptNode: `p${index}`,
    session: `s${Math.floor(index / 2)}`,
    messages: [{ role: 'user', content: String(index) }],
    tools: [],
    reference: String(index),
    referenceFrom: 'imported',
    frontier: String(index),
    maxTokens: null,
    ...more,
  }))
}

/** Right but for every `wrongEach`th row. */
const right = (wrongEach: number) => (rows: readonly HeldOutRow[]) =>
  rows.map((row, index) => (index % wrongEach === 0 ? 'wrong' : row.reference))

function inputOf(rows: HeldOutRow[], more: Partial<EvaluationInput['contenders']> = {}): EvaluationInput {
  const nothing = (all: readonly HeldOutRow[]): string[] => all.map(() => '')
  const contenders = { base: nothing, nearest: nothing, frontier: capturedFrontier, owned: nothing, ...more }
  return { rows, contenders, scorer: scorers.exact, confidence: 0.95 }
}

const policy = gatePolicy.parse({})
const byReference: GateContext = { judgeEndpoint: null, gateSource: { kind: 'scorer', scorer: 'exact' } }

describe('the evaluation', () => {
  it('scores every contender per call, clustered by session', async () => {
    const { rows, evaluation } = await evaluate(
      inputOf(rowsOf(100), { owned: right(10), frontier: right(4) }),
    )
    expect(rows.map((row) => evaluatedRow.parse(row))).toEqual(rows)
    expect(evaluationSchema.parse(evaluation)).toEqual(evaluation)
    expect(evaluation).toMatchObject({
      calls: 100,
      sessions: 50,
      scorer: 'exact',
      referenceFrom: { imported: 100 },
    })
    expect(evaluation.scores.owned.mean).toBeCloseTo(0.9)
    expect(evaluation.scores.base.mean).toBe(0)
    expect(evaluation.difference.mean).toBeCloseTo(0.15)
    for (const { low, mean, high } of [...Object.values(evaluation.scores), evaluation.difference]) {
      expect(low).toBeLessThanOrEqual(mean)
      expect(high).toBeGreaterThanOrEqual(mean)
    }
    expect(rows[0]).toMatchObject({ input: '0', answers: { owned: 'wrong' }, scores: { owned: 0 } })
  })

  it('asks a sampler with bounded concurrency, and a resent request once in its session', async () => {
    let under = 0
    let peak = 0
    let asked = 0
    const sampler: Sampler = {
      name: 'owned',
      concurrency: 4,
      async answer({ messages }) {
        under += 1
        asked += 1
        peak = Math.max(peak, under)
        await new Promise((resolve) => setTimeout(resolve, 5))
        under -= 1
        return lastUserText(messages)
      },
    }
    const rows = rowsOf(20)
    const resent = rows.flatMap((row) => [row, row])
    const progress: number[] = []
    const input = {
      ...inputOf(resent, { owned: sampler }),
      onProgress: (p: { done: number }) => progress.push(p.done),
    }
    const { evaluation } = await evaluate(input)
    expect(evaluation.scores.owned.mean).toBe(1)
    expect([peak, asked]).toEqual([4, 20])
    expect(progress.slice(-40)).toEqual(Array.from({ length: 40 }, (_, index) => index + 1))
    // The same prompt in another session is another sample.
    asked = 0
    await evaluate(
      inputOf([...rows, ...rows.map((row) => ({ ...row, session: `other ${row.session}` }))], {
        owned: sampler,
      }),
    )
    expect(asked).toBe(40)
  })

  it('fails as its sampler fails, and stops asking', async () => {
    let asked = 0
    const sampler: Sampler = {
      name: 'owned',
      concurrency: 2,
      answer: async () => {
        asked += 1
        throw new Error('the engine is gone')
      },
    }
    await expect(evaluate(inputOf(rowsOf(30), { owned: sampler }))).rejects.toThrow('the engine is gone')
    // Two were under way, and their places were taken once before the first failure arrived.
    expect(asked).toBeLessThanOrEqual(4)
  })

  it('does not accept too few answers', async () => {
    await expect(evaluate(inputOf(rowsOf(3), { owned: () => ['a'] }))).rejects.toMatchObject({
      code: 'engine_failed',
    })
  })
})

describe('the gate', () => {
  it('promotes what is better than the frontier, and says by how much', async () => {
    const evaluated = await evaluate(inputOf(rowsOf(300), { owned: right(30), frontier: right(6) }))
    const decision = gateDecision.parse(decide(evaluated, policy, byReference))
    expect(decision.promote).toBe(true)
    expect(decision.sentence).toMatch(
      /^Promoted: on 300 held-out calls in 150 sessions the owned model scores 96\.7 % and the frontier 83\.3 % by exact match with the reference; the difference is \+13\.3 points and with 95 % confidence at least \+\d\.\d points, and the task allows a loss of at most 2 points\.$/,
    )
    expect(decision.evidence.lowerBound).toBeGreaterThan(0)
    expect(decision.evidence.lowerBound).toBeLessThan(0.134)
  })

  it('refuses what is worse', async () => {
    const evaluated = await evaluate(inputOf(rowsOf(300), { owned: right(3) }))
    const { promote, sentence } = decide(evaluated, policy, byReference)
    expect(promote).toBe(false)
    expect(sentence).toContain('Refused: on 300 held-out calls')
    expect(sentence).toContain('−33.')
    expect(sentence).not.toContain('more held-out calls')
  })

  it('refuses a sample below the minimum', async () => {
    const evaluated = await evaluate(
      inputOf(rowsOf(49), { owned: (rows) => rows.map((row) => row.reference) }),
    )
    expect(decide(evaluated, policy, byReference)).toMatchObject({
      promote: false,
      sentence: 'Refused: 49 held-out calls are too few to decide on, the task asks for 50.',
    })
    const none = decide(await evaluate(inputOf([])), policy, byReference)
    expect(gateDecision.parse(none)).toMatchObject({
      promote: false,
      evidence: { lowerBound: null, calls: 0 },
    })
  })

  it('does not take no difference in a small sample for proof', async () => {
    const perfect = (rows: readonly HeldOutRow[]): string[] => rows.map((row) => row.reference)
    const few = decide(await evaluate(inputOf(rowsOf(60), { owned: perfect })), policy, byReference)
    expect(few.promote).toBe(false)
    expect(few.sentence).toContain('more held-out calls could still show it')
    expect(
      decide(await evaluate(inputOf(rowsOf(400), { owned: perfect })), policy, byReference).promote,
    ).toBe(true)
  })

  it('never uses the judge that scored the training data', async () => {
    const evaluated = await evaluate(inputOf(rowsOf(300), { owned: right(30), frontier: right(6) }))
    const judge = { baseUrl: 'http://LOCALHOST:80/v1/', model: 'm' }
    const gateBy = (endpoint: typeof judge) =>
      decide(evaluated, policy, { judgeEndpoint: judge, gateSource: { kind: 'judge', endpoint } })
    expect(gateBy({ baseUrl: 'http://127.0.0.1/v1', model: 'm' })).toMatchObject({
      promote: false,
      sentence: expect.stringContaining('may not gate what was trained on it'),
    })
    expect(gateBy({ baseUrl: 'http://127.0.0.1/v1', model: 'other' }).promote).toBe(true)
    expect(gateBy({ baseUrl: 'http://127.0.0.1:8000/v1', model: 'm' }).promote).toBe(true)
  })

  it('tells who has one judge, and who compares the frontier with itself', async () => {
    const rows = rowsOf(300, { referenceFrom: 'first_reply' })
    const { sentence } = decide(await evaluate(inputOf(rows, { owned: right(3) })), policy, {
      ...byReference,
      judgeEndpoint: { baseUrl: 'http://judge/v1', model: 'm' },
    })
    expect(sentence).toContain("the references are the frontier's own first replies")
    expect(sentence).toContain('the task has one judge')
  })
})

describe('the nearest neighbour', () => {
  const row = (input: string, answer: string) => ({
    leaf: input,
    messages: [
      { role: 'system' as const, content: 'help' },
      { role: 'user' as const, content: input },
      { role: 'assistant' as const, content: answer },
    ],
    tools: [],
    loss: [0, 0, 1],
  })

  it('answers as the most similar request was answered', () => {
    const examples = examplesOf([
      row('where is my parcel', 'track'),
      row('I want my money back for the parcel', 'refund'),
      row('please cancel the order', 'cancel'),
    ])
    const asked = ['Where are my PARCELS?', 'cancelling an order', 'money, back!'].map((content, index) => ({
      ...(rowsOf(1)[0] ?? expect.unreachable()),
      promptNode: String(index),
      messages: [{ role: 'user' as const, content }],
    }))
    expect(nearestNeighbour(examples)(asked)).toEqual(['track', 'cancel', 'refund'])
  })

  it('uses only turns that carry loss, and answers nothing without any', () => {
    const without = { ...row('a', 'b'), loss: [0, 0, 0] }
    expect(examplesOf([without])).toEqual([])
    expect(nearestNeighbour([])(rowsOf(2))).toEqual(['', ''])
  })
})
