import {
  type CausalLM,
  type LayoutName,
  type Adapter,
  passesOf,
  targetLogProbabilities,
  type TrainRow,
} from '../src/engine/index.ts'

/** Mean NLL over the rows' weighted tokens, nats; without dropout, without gradients. */
export function evaluateRows(
  model: CausalLM,
  adapter: Adapter,
  rows: readonly TrainRow[],
  { maxTokensPerPass, layout }: { maxTokensPerPass: number; layout: LayoutName },
): number {
  let sum = 0
  let weights = 0
  for (const pass of passesOf(rows, maxTokensPerPass, layout)) {
    const logProbabilities = targetLogProbabilities(model, adapter, pass, layout)
    const targets = pass.flatMap((row) => [...row.targetWeights].filter((weight) => weight !== 0))
    for (const [index, weight] of targets.entries()) {
      sum -= weight * (logProbabilities[index] ?? Number.NaN)
      weights += weight
    }
  }
  return sum / weights
}
