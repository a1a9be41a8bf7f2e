/** What each contender answers on sessions that training never saw, and how sure that makes one. */
import PQueue from 'p-queue'
import {
  type Contender,
  contender,
  type Estimate,
  type EvaluatedRow,
  type Evaluation,
  type HeldOutRow,
  lastUserText,
  type Sampler,
  type Scorer,
} from '../src/contract/index.ts'
import { ShadowError } from '../src/lib/error.ts'
import { type Bounds, clusterBounds, sumBySession } from './statistics.ts'

/** Something that serves, or answers that are known already, in the order of the rows. */
export type Answers =
  | Sampler
  | ((rows: readonly HeldOutRow[]) => readonly string[] | Promise<readonly string[]>)

export interface EvaluationInput {
  rows: readonly HeldOutRow[]
  contenders: Readonly<Record<Contender, Answers>>
  scorer: Scorer
  /** Of each two-sided interval. */
  confidence: number
  onProgress?: (progress: { contender: Contender; done: number; total: number }) => void
  signal?: AbortSignal
}

export interface Evaluated {
  rows: EvaluatedRow[]
  evaluation: Evaluation
}

/** The frontier's captured answers: it is not asked again. */
export const capturedFrontier: Answers = (rows) => rows.map((row) => row.frontier)

/**
 * Asks the contenders one after the other, so that none slows another down, and scores every answer.
 * @throws ShadowError engine_failed when a contender answers too few rows; whatever a sampler throws
 */
export async function evaluate(input: EvaluationInput): Promise<Evaluated> {
  const { rows, contenders, scorer, confidence } = input
  const answers = await forEachContender(async (name) => {
    const given = await answersOf(name, contenders[name], input)
    if (given.length === rows.length) return given
    throw new ShadowError(
      'engine_failed',
      `${name} gave ${given.length} answers to ${rows.length} held-out calls.`,
    )
  })
  const at = (name: Contender, index: number): string => answers[name][index] ?? ''
  const evaluated = rows.map((row, index): EvaluatedRow => {
    const own = mapContenders((name) => at(name, index))
    return {
      promptNode: row.promptNode,
      session: row.session,
      input: lastUserText(row.messages),
      reference: row.reference,
      answers: own,
      scores: mapContenders((name) => scorer.score(own[name], row.reference)),
    }
  })
  return {
    rows: evaluated,
    evaluation: {
      ...summarise(evaluated, confidence),
      scorer: scorer.name,
      referenceFrom: countReferences(rows),
    },
  }
}

/**
 * Means with intervals clustered by session (`statistics.ts` has the method). The difference is paired: each
 * call's owned score minus its frontier score.
 */
function summarise(
  rows: readonly EvaluatedRow[],
  confidence: number,
): Omit<Evaluation, 'scorer' | 'referenceFrom'> {
  const names = contender.options
  const sessions = rows.map((row) => row.session)
  const { sizes, sums } = sumBySession(sessions, [
    ...names.map((name) => rows.map((row) => row.scores[name])),
    rows.map(differenceOf),
  ])
  const quantities = sums.map((own, index) => ({ sums: own, range: index < names.length ? unit : signed }))
  const bounds = clusterBounds(sizes, quantities, (1 + confidence) / 2)
  return {
    calls: rows.length,
    sessions: sizes.length,
    confidence,
    scores: mapContenders((name) => estimateOf(bounds[names.indexOf(name)])),
    difference: estimateOf(bounds.at(-1)),
  }
}

/** One-sided lower bound of owned − frontier at `confidence`; null without a call. */
export function lowerBoundOfDifference(rows: readonly EvaluatedRow[], confidence: number): number | null {
  if (rows.length === 0) return null
  const { sizes, sums } = sumBySession(
    rows.map((row) => row.session),
    [rows.map(differenceOf)],
  )
  return clusterBounds(sizes, [{ sums: sums[0] ?? [], range: signed }], confidence)[0]?.low ?? null
}

const unit: readonly [number, number] = [0, 1]
const signed: readonly [number, number] = [-1, 1]

function differenceOf({ scores }: EvaluatedRow): number {
  return scores.owned - scores.frontier
}

function estimateOf(bounds: Bounds | undefined): Estimate {
  return { mean: bounds?.mean ?? 0, low: bounds?.low ?? 0, high: bounds?.high ?? 0 }
}

async function answersOf(
  name: Contender,
  answers: Answers,
  { rows, onProgress, signal }: EvaluationInput,
): Promise<readonly string[]> {
  if (typeof answers === 'function') {
    const given = await answers(rows)
    onProgress?.({ contender: name, done: rows.length, total: rows.length })
    return given
  }
  const queue = new PQueue({ concurrency: answers.concurrency })
  const stop = new AbortController()
  const either = signal === undefined ? stop.signal : AbortSignal.any([stop.signal, signal])
  // A resent request is answered once in its session; across sessions answers stay independent.
  const asked = new Map<string, Promise<string>>()
  let done = 0
  const ask = (row: HeldOutRow): Promise<string> =>
    queue.add(async () => {
      either.throwIfAborted()
      const { messages, tools, maxTokens } = row
      return answers.answer({ messages, tools, maxTokens }, either)
    })
  const pending = rows.map(async (row) => {
    const key = JSON.stringify([row.session, row.promptNode, row.maxTokens])
    const answer = asked.get(key) ?? ask(row)
    asked.set(key, answer)
    const text = await answer
    done += 1
    onProgress?.({ contender: name, done, total: rows.length })
    return text
  })
  try {
    return await Promise.all(pending)
  } catch (thrown) {
    stop.abort(thrown)
    await Promise.allSettled(pending)
    throw thrown
  }
}

function countReferences(rows: readonly HeldOutRow[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { referenceFrom } of rows) counts[referenceFrom] = (counts[referenceFrom] ?? 0) + 1
  return counts
}

function mapContenders<Value>(make: (name: Contender) => Value): Record<Contender, Value> {
  return { base: make('base'), nearest: make('nearest'), frontier: make('frontier'), owned: make('owned') }
}

async function forEachContender<Value>(
  make: (name: Contender) => Promise<Value>,
): Promise<Record<Contender, Value>> {
  const base = await make('base')
  const nearest = await make('nearest')
  const frontier = await make('frontier')
  return { base, nearest, frontier, owned: await make('owned') }
}
