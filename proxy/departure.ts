/** Whether the agent has left, which takes its request back. An AbortSignal says the same at several times the price. */
import type { ServerResponse } from 'node:http'
import type { CancelSignal } from '../src/contract/index.ts'

export class Departure implements CancelSignal {
  reason: Error | undefined
  private readonly listeners = new Set<() => void>()

  /** The agent has left when its connection closes before all of the reply is written. */
  constructor(res: ServerResponse) {
    res.once('close', () => {
      if (!res.writableFinished) this.leave()
    })
  }

  get aborted(): boolean {
    return this.reason !== undefined
  }

  addEventListener(_: 'abort', listener: () => void): void {
    this.listeners.add(listener)
  }

  removeEventListener(_: 'abort', listener: () => void): void {
    this.listeners.delete(listener)
  }

  private leave(): void {
    this.reason = new Error('The agent closed its connection.')
    for (const listener of this.listeners) listener()
    this.listeners.clear()
  }
}
