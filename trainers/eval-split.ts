/** The part of the training rows that is held out to be evaluated on; never the sessions that the gate holds out. */
import { shareOfPercentage, type TrainConfig } from '../src/contract/train-config.ts'
import { seededRandom, shuffled } from '../src/lib/random.ts'

/** What `auto` holds out. */
const autoShare = 0.1

export interface EvaluationSplit<Row> {
  train: Row[]
  evaluation: Row[]
}

/**
 * Draws the held-out rows with config.seed; both sides keep the dataset's order. Each gets at least one row, save
 * that a single row trains.
 */
export function splitForEvaluation<Row>(
  rows: readonly Row[],
  { eval_dataset, seed }: Pick<TrainConfig, 'eval_dataset' | 'seed'>,
): EvaluationSplit<Row> {
  if (eval_dataset === null || rows.length < 2) return { train: [...rows], evaluation: [] }
  const share =
    typeof eval_dataset === 'number'
      ? eval_dataset
      : eval_dataset === 'auto'
        ? autoShare
        : shareOfPercentage(eval_dataset)
  const count = Math.min(rows.length - 1, Math.max(1, Math.round(share * rows.length)))
  const heldOut = new Set(shuffled([...rows.keys()], seededRandom(seed)).slice(0, count))
  return {
    train: rows.filter((_, index) => !heldOut.has(index)),
    evaluation: rows.filter((_, index) => heldOut.has(index)),
  }
}
