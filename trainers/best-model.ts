/** Which evaluation was the best so far, and whether it is time to give up. */
import { z } from 'zod'
import type { TrainConfig } from '../src/contract/train-config.ts'

export const bestState = z.object({
  /** Null before the first evaluation. */
  best: z.object({ step: z.number().int(), eval_loss: z.number() }).nullable(),
  /** Evaluations in a row that were no improvement. */
  stale: z.number().int().nonnegative(),
})
export type BestState = z.infer<typeof bestState>

export class BestModel {
  #state: BestState = { best: null, stale: 0 }
  readonly #config: TrainConfig

  constructor(config: TrainConfig) {
    this.#config = config
  }

  get state(): BestState {
    return this.#state
  }

  restore(state: BestState): void {
    this.#state = state
  }

  /**
   * Takes an evaluation in. The counting is that of transformers' EarlyStoppingCallback.
   * @returns whether its loss is the lowest so far
   */
  offer(step: number, evalLoss: number): boolean {
    const { best, stale } = this.#state
    const gain = best === null ? Number.POSITIVE_INFINITY : best.eval_loss - evalLoss
    const lowest = gain > 0
    this.#state = {
      best: lowest ? { step, eval_loss: evalLoss } : best,
      stale: gain > this.#config.early_stopping_threshold ? 0 : stale + 1,
    }
    return lowest
  }

  /** Whether early_stopping_patience is used up. */
  get exhausted(): boolean {
    const patience = this.#config.early_stopping_patience
    return patience !== null && this.#state.stale >= patience
  }
}
