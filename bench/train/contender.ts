/** A contender of a benchmark: a child process that answers each line it is sent by a line of JSON. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { median } from '../row.ts'

const step = z.object({
  seconds: z.number(),
  loss: z.number(),
  /** JavaScript's share of the step, where there is any. */
  jsShare: z.number().optional(),
})
const peaks = z.object({ sgemm: z.number(), bf16: z.number().nullable() })
const memory = z.object({ peakBytes: z.number() })

/** GFLOP/s of large matrix products. */
export type Peaks = z.infer<typeof peaks>

/** Threads that a library leaves spinning after its step would slow the next contender down. */
const settleMs = 400

export class Contender {
  readonly name: string
  readonly #child: ChildProcess
  readonly #lines: Interface
  readonly #answers: AsyncIterator<string>
  readonly #steps: z.infer<typeof step>[] = []

  private constructor(name: string, child: ChildProcess, lines: Interface) {
    this.name = name
    this.#child = child
    this.#lines = lines
    this.#answers = lines[Symbol.asyncIterator]()
  }

  /** Starts the process and waits until it says that it is ready. */
  static async start(name: string, command: string, args: readonly string[]): Promise<Contender> {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'ignore'] })
    const contender = new Contender(name, child, createInterface(child.stdout))
    await contender.#answer(z.object({ ready: z.literal(true) }))
    return contender
  }

  /** One line of JSON from a process that does nothing else. */
  static async ask<T>(
    name: string,
    command: string,
    args: readonly string[],
    shape: z.ZodType<T>,
  ): Promise<T> {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'] })
    const contender = new Contender(name, child, createInterface(child.stdout))
    try {
      return await contender.#answer(shape)
    } finally {
      contender.stop()
    }
  }

  /** One optimizer step. */
  async step(): Promise<void> {
    this.#steps.push(await this.request('step', step))
    await sleep(settleMs)
  }

  async peaks(): Promise<Peaks> {
    const found = await this.request('peaks', peaks)
    await sleep(settleMs)
    return found
  }

  /** Highest resident memory since its start, in bytes. */
  async peakBytes(): Promise<number> {
    return (await this.request('memory', memory)).peakBytes
  }

  get losses(): number[] {
    return this.#steps.map(({ loss }) => loss)
  }

  /** Median seconds of the steps after the first `warmUp`. */
  seconds(warmUp: number): number {
    return median(this.#steps.slice(warmUp).map(({ seconds }) => seconds))
  }

  jsShare(warmUp: number): number | null {
    const shares = this.#steps
      .slice(warmUp)
      .flatMap(({ jsShare }) => (jsShare === undefined ? [] : [jsShare]))
    return shares.length === 0 ? null : median(shares)
  }

  stop(): void {
    this.#lines.close()
    this.#child.kill()
  }

  /** Sends one line and reads the answer's. */
  request<T>(command: string, shape: z.ZodType<T>): Promise<T> {
    this.#child.stdin?.write(`${command}\n`)
    return this.#answer(shape)
  }

  async #answer<T>(shape: z.ZodType<T>): Promise<T> {
    const line = await this.#answers.next()
    if (line.done === true) throw new Error(`${this.name} ended before it answered.`)
    return shape.parse(JSON.parse(line.value))
  }
}
