/** Gathers optimizer steps into one metric record every `logging_steps` of them. */
import { z } from 'zod'
import type { TrainMetric } from '../src/contract/run.ts'

const open = { steps: 0, loss: 0, target_tokens: 0, tokens: 0, row_tokens: 0, seconds: 0 }

export const windowState = z.object({
  /** Since the training began. */
  tokens: z.number().int(),
  elapsed_s: z.number(),
  /** Since the last record. */
  open: z.object({
    steps: z.number().int(),
    loss: z.number(),
    target_tokens: z.number().int(),
    tokens: z.number().int(),
    row_tokens: z.number().int(),
    seconds: z.number(),
  }),
})
export type WindowState = z.infer<typeof windowState>

/** What one optimizer step came to. */
export interface StepFigures {
  /** Optimizer steps done, this one included. */
  step: number
  epoch: number
  loss: number
  lr: number
  grad_norm: number
  target_tokens: number
  /** Tokens computed. */
  tokens: number
  /** Tokens of the step's rows, shared ones counted for each. */
  row_tokens: number
  seconds: number
}

export class MetricWindow {
  #state: WindowState = { tokens: 0, elapsed_s: 0, open }

  get state(): WindowState {
    return this.#state
  }

  restore(state: WindowState): void {
    this.#state = state
  }

  /** Time that passed beside the steps: evaluations, saving. */
  spend(seconds: number): void {
    this.#state = { ...this.#state, elapsed_s: this.#state.elapsed_s + seconds }
  }

  /** @returns the record, where this step ends one; its loss is the mean of its steps' */
  add(figures: StepFigures, endsRecord: boolean): TrainMetric | null {
    const before = this.#state
    const sums = {
      steps: before.open.steps + 1,
      loss: before.open.loss + figures.loss,
      target_tokens: before.open.target_tokens + figures.target_tokens,
      tokens: before.open.tokens + figures.tokens,
      row_tokens: before.open.row_tokens + figures.row_tokens,
      seconds: before.open.seconds + figures.seconds,
    }
    const tokens = before.tokens + figures.tokens
    const elapsed_s = before.elapsed_s + figures.seconds
    this.#state = { tokens, elapsed_s, open: endsRecord ? open : sums }
    if (!endsRecord) return null
    return {
      step: figures.step,
      epoch: figures.epoch,
      loss: sums.loss / sums.steps,
      lr: figures.lr,
      grad_norm: figures.grad_norm,
      target_tokens: sums.target_tokens,
      tokens,
      tokens_per_s: sums.tokens / sums.seconds,
      unique_token_ratio: sums.tokens / sums.row_tokens,
      elapsed_s,
      peak_mem_gb: (process.resourceUsage().maxRSS * 1024) / 1e9,
    }
  }
}
