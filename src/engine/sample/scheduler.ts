/**
 * Continuous batching: sequences join and leave a running batch at every step. A step takes one row of each
 * sequence that is generating and up to `prefillRows` rows of prompts, in one pass through the model.
 *
 * Kernels of generation compute each row independently of the others, so what a sequence answers does not depend,
 * to the last bit, on its batch mates, on how its prompt was cut into steps, or on a reused prefix.
 */
import { setImmediate } from 'node:timers'
import { ShadowError } from '../../lib/error.ts'
import type { LoraAdapter } from '../adapters/lora.ts'
import type { AdapterView } from '../nn/adapter-view.ts'
import type { CausalLM, StepPlan } from '../models/causal-lm.ts'
import { UniformStream } from './random.ts'
import { checkRequest, type GenerateRequest, type GenerateResult } from './request.ts'
import { SlotTable } from './slots.ts'

/** How much runs together. */
export interface SchedulerOptions {
  /** Sequences that run together. */
  maxBatch: number
  /** Tokens a sequence may have, prompt and result. */
  maxContext: number
  /** Prompt tokens computed in one step, all sequences together; bounds how long a step takes. Default 256. */
  prefillRows?: number
}

interface Sequence {
  readonly request: GenerateRequest
  readonly prompt: readonly number[]
  readonly adapter: string | null
  readonly random: UniformStream
  readonly stopIds: ReadonlySet<number>
  readonly result: GenerateResult
  readonly resolve: (result: GenerateResult) => void
  readonly reject: (reason: unknown) => void
  /** -1 while waiting. */
  slot: number
  /** Tokens in the cache. */
  length: number
  /** Tokens to feed next: what is left of the prompt, or the token drawn last. */
  pending: readonly number[]
}

/** One pass: the rows, and which of them end in a draw. */
interface Step {
  ids: number[]
  positions: number[]
  slots: number[]
  fed: { sequence: Sequence; tokens: readonly number[] }[]
  draws: { sequence: Sequence; row: number }[]
}

/** Generates for many sequences at once with one model and any of its adapters. */
export class GenerationScheduler {
  readonly #model: CausalLM
  readonly #options: Required<SchedulerOptions>
  readonly #slots: SlotTable
  /** By adapter; null: the base model. */
  readonly #plans = new Map<string | null, StepPlan>()
  readonly #adapters = new Map<string, AdapterView>()
  #waiting: Sequence[] = []
  #running: Sequence[] = []
  #scheduled = false
  #closed = false

  constructor(model: CausalLM, options: SchedulerOptions) {
    this.#model = model
    this.#options = { prefillRows: 256, ...options }
    this.#slots = new SlotTable(model, options.maxBatch, options.maxContext)
  }

  /** Makes an adapter available to requests under this name. After it was trained further it is added again. */
  addAdapter(name: string, adapter: LoraAdapter): void {
    this.#adapters.set(name, adapter.servingView())
    this.#plans.get(name)?.[Symbol.dispose]()
    this.#plans.delete(name)
  }

  /** Sequences waiting and running. */
  get load(): { waiting: number; running: number } {
    return { waiting: this.#waiting.length, running: this.#running.length }
  }

  /**
   * Queues a request. Requests with the same adapter run together; others wait until the batch is empty.
   * @throws ShadowError (as a rejection) `invalid_request`, `not_found` for an unknown adapter, `engine_failed`.
   */
  submit(request: GenerateRequest): Promise<GenerateResult> {
    return new Promise((resolve, reject) => {
      checkRequest(request, this.#options.maxContext, this.#model.vocabularySize)
      const adapter = request.adapter ?? null
      if (adapter !== null && !this.#adapters.has(adapter))
        throw new ShadowError('not_found', `There is no adapter named ${adapter}.`)
      if (this.#closed) throw new ShadowError('busy', 'The generator is shutting down.')
      request.signal?.throwIfAborted()
      const prompt = [...request.promptIds]
      const sequence: Sequence = {
        request,
        prompt,
        adapter,
        random: new UniformStream(request.seed ?? 0),
        stopIds: new Set(request.stopIds),
        result: { ids: [], logprobs: [], finishReason: 'length', cachedTokens: 0 },
        resolve,
        reject,
        slot: -1,
        length: 0,
        pending: prompt,
      }
      this.#waiting.push(sequence)
      request.signal?.addEventListener('abort', () => this.#drop(sequence, request.signal?.reason), {
        once: true,
      })
      this.#schedule()
    })
  }

  /** Refuses new requests, rejects those under way and frees the cache. */
  dispose(): void {
    this.#closed = true
    const reason = new ShadowError('busy', 'The generator is shutting down.')
    for (const sequence of [...this.#waiting, ...this.#running]) this.#drop(sequence, reason)
    for (const plan of this.#plans.values()) plan[Symbol.dispose]()
    this.#plans.clear()
    this.#slots.dispose()
  }

  /** The same as `dispose`. */
  [Symbol.dispose](): void {
    this.dispose()
  }

  #schedule(): void {
    if (this.#scheduled || this.#closed) return
    this.#scheduled = true
    // One step for each turn of the event loop, so that sockets are served in between.
    setImmediate(() => {
      this.#scheduled = false
      this.#turn()
    })
  }

  #turn(): void {
    if (this.#closed) return
    this.#admit()
    const step = this.#plan()
    if (step.ids.length === 0) return
    try {
      this.#run(step)
    } catch (thrown) {
      for (const sequence of this.#running) this.#drop(sequence, thrown)
    }
    if (this.#running.length + this.#waiting.length > 0) this.#schedule()
  }

  #admit(): void {
    const adapter = this.#running[0]?.adapter ?? this.#waiting[0]?.adapter ?? null
    // The oldest request decides when its turn has come, so a busy adapter cannot starve another.
    if (this.#running.length > 0 && this.#waiting[0] !== undefined && this.#waiting[0].adapter !== adapter)
      return
    const stillWaiting: Sequence[] = []
    for (const sequence of this.#waiting) {
      const lease = sequence.adapter === adapter ? this.#slots.lease(sequence.prompt, adapter) : null
      if (lease === null) {
        stillWaiting.push(sequence)
        continue
      }
      sequence.slot = lease.slot
      sequence.length = lease.reused
      sequence.pending = sequence.prompt.slice(lease.reused)
      sequence.result.cachedTokens = lease.reused
      this.#running.push(sequence)
    }
    this.#waiting = stillWaiting
  }

  #plan(): Step {
    const step: Step = { ids: [], positions: [], slots: [], fed: [], draws: [] }
    let budget = this.#options.prefillRows
    for (const sequence of this.#running) {
      const generating = sequence.result.ids.length > 0
      const count = generating ? 1 : Math.min(budget, sequence.pending.length)
      if (count === 0) continue
      if (!generating) budget -= count
      const tokens = sequence.pending.slice(0, count)
      tokens.forEach((id, index) => {
        step.ids.push(id)
        step.positions.push(sequence.length + index)
        step.slots.push(sequence.slot)
      })
      step.fed.push({ sequence, tokens })
      if (count === sequence.pending.length) step.draws.push({ sequence, row: step.ids.length - 1 })
    }
    return step
  }

  #run(step: Step): void {
    const { runtime } = this.#model
    const adapter = step.fed[0]?.sequence.adapter ?? null
    const plan = this.#planOf(adapter)
    const drawn = runtime.tidy(() => {
      const logits = plan.step(
        {
          ids: Int32Array.from(step.ids),
          positions: Int32Array.from(step.positions),
          slots: Int32Array.from(step.slots),
          cache: this.#slots.cache,
        },
        step.draws.map(({ row }) => row),
      )
      if (step.draws.length === 0) return null
      return runtime.native.sampleRows(
        logits.handle,
        Float64Array.from(step.draws, ({ sequence }) => sequence.request.temperature),
        Float64Array.from(step.draws, ({ sequence }) => sequence.request.topP),
        Float64Array.from(step.draws, ({ sequence }) => sequence.random.next()),
      )
    })
    for (const { sequence, tokens } of step.fed) {
      this.#slots.append(sequence.slot, tokens)
      sequence.length += tokens.length
      sequence.pending = sequence.pending.slice(tokens.length)
    }
    step.draws.forEach(({ sequence }, index) => {
      this.#accept(sequence, drawn?.[0][index] ?? 0, drawn?.[1][index] ?? Number.NaN)
    })
  }

  #planOf(adapter: string | null): StepPlan {
    const known = this.#plans.get(adapter)
    if (known !== undefined) return known
    const plan = this.#model.plan(adapter === null ? null : (this.#adapters.get(adapter) ?? null))
    this.#plans.set(adapter, plan)
    return plan
  }

  #accept(sequence: Sequence, id: number, logprob: number): void {
    const { result, request } = sequence
    if (sequence.stopIds.has(id)) {
      result.finishReason = 'stop'
      this.#finish(sequence)
      return
    }
    result.ids.push(id)
    result.logprobs.push(logprob)
    sequence.pending = [id]
    try {
      request.onToken?.(id, logprob)
    } catch (thrown) {
      this.#drop(sequence, thrown)
      return
    }
    const full = sequence.prompt.length + result.ids.length >= this.#options.maxContext
    if (result.ids.length >= request.maxTokens || full) this.#finish(sequence)
  }

  #leave(sequence: Sequence): boolean {
    const known = this.#running.includes(sequence) || this.#waiting.includes(sequence)
    this.#running = this.#running.filter((other) => other !== sequence)
    this.#waiting = this.#waiting.filter((other) => other !== sequence)
    if (known && sequence.slot >= 0) this.#slots.release(sequence.slot)
    return known
  }

  #finish(sequence: Sequence): void {
    if (this.#leave(sequence)) sequence.resolve(sequence.result)
  }

  #drop(sequence: Sequence, reason: unknown): void {
    if (this.#leave(sequence)) sequence.reject(reason)
    if (this.#waiting.length > 0) this.#schedule()
  }
}
