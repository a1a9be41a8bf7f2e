/** Whether the owned model may take over, in one sentence with its numbers. */
import type {
  Estimate,
  Evaluation,
  GateDecision,
  GatePolicy,
  JudgeEndpoint,
  ScorerName,
} from '../src/contract/index.ts'
import { normaliseEndpoint } from './endpoint.ts'
import { type Evaluated, lowerBoundOfDifference } from './evaluate.ts'

/** What the scores of the evaluation come from. */
type GateSource =
  | { kind: 'scorer'; scorer: ScorerName }
  | { kind: 'judge'; endpoint: Pick<JudgeEndpoint, 'baseUrl' | 'model'> }

export interface GateContext {
  /** The endpoint that judged the training data; null where none did. */
  judgeEndpoint: Pick<JudgeEndpoint, 'baseUrl' | 'model'> | null
  gateSource: GateSource
}

/**
 * Promotes where, with the policy's confidence, the owned model is at most `margin` worse than the frontier on at
 * least `minimumSample` held-out calls, by a measure that did not choose what it was trained on.
 */
export function decide(
  { evaluation, rows }: Evaluated,
  policy: GatePolicy,
  context: GateContext,
): GateDecision {
  const lowerBound = lowerBoundOfDifference(rows, policy.confidence)
  const { calls } = evaluation
  const { minimumSample, margin, confidence } = policy
  const evidence = { calls, minimumSample, margin, confidence, lowerBound }
  const refuse = (why: string): GateDecision => ({ promote: false, sentence: `Refused: ${why}.`, evidence })

  if (judgesItself(context)) {
    return refuse(
      'the judge that scored the training data may not gate what was trained on it; ' +
        'import references, or name another judge for the gate',
    )
  }
  if (lowerBound === null || calls < minimumSample) {
    return refuse(
      `${count(calls, 'held-out call')} are too few to decide on, the task asks for ${minimumSample}`,
    )
  }
  const known = `${scoresIn(evaluation, context.gateSource)}; the difference is ${signed(100 * evaluation.difference.mean)} and with ${percent(confidence)} confidence at least ${boundPoints(lowerBound)}`
  const asked = margin === 0 ? 'no loss at all' : `a loss of at most ${points(margin)}`
  const told = caveats(evaluation, context)
  if (lowerBound < -margin) {
    const enough = evaluation.difference.mean >= -margin
    const advice = enough ? ', so more held-out calls could still show it' : ''
    return refuse(`${known}, where the task allows ${asked}${advice}${told}`)
  }
  return { promote: true, sentence: `Promoted: ${known}, and the task allows ${asked}${told}.`, evidence }
}

function judgesItself({ judgeEndpoint, gateSource }: GateContext): boolean {
  if (judgeEndpoint === null || gateSource.kind !== 'judge') return false
  return normaliseEndpoint(judgeEndpoint) === normaliseEndpoint(gateSource.endpoint)
}

function scoresIn({ calls, sessions, scores }: Evaluation, source: GateSource): string {
  const by =
    source.kind === 'scorer'
      ? `${source.scorer} match with the reference`
      : `the judge ${source.endpoint.model}`
  return (
    `on ${count(calls, 'held-out call')} in ${count(sessions, 'session')} the owned model scores ` +
    `${meanOf(scores.owned)} and the frontier ${meanOf(scores.frontier)} by ${by}`
  )
}

/** What a reader must know to weigh the verdict. */
function caveats({ referenceFrom, calls }: Evaluation, { judgeEndpoint, gateSource }: GateContext): string {
  const told: string[] = []
  const first = referenceFrom['first_reply'] ?? 0
  if (gateSource.kind === 'scorer' && first > 0) {
    const share = first === calls ? 'the references are' : `${first} of the references are`
    told.push(`${share} the frontier's own first replies, so this measures agreement with it`)
  }
  if (gateSource.kind === 'scorer' && judgeEndpoint !== null) {
    told.push('the task has one judge, which chose the training data and so has no say here')
  }
  return told.length === 0 ? '' : ` (${told.join('; ')})`
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}

function meanOf({ mean }: Estimate): string {
  return `${(100 * mean).toFixed(1)} %`
}

function percent(share: number): string {
  return `${Number((100 * share).toFixed(2))} %`
}

function points(difference: number): string {
  return `${Number((100 * difference).toFixed(2))} points`
}

/** In points of a hundred; rounded down, but for the noise of binary fractions: a bound is never told better than it is. */
function boundPoints(difference: number): string {
  return signed(Math.floor(difference * 1000 + 1e-6) / 10)
}

function signed(points: number): string {
  const size = Math.abs(points).toFixed(1)
  return `${size === '0.0' ? '±' : points < 0 ? '−' : '+'}${size} points`
}
