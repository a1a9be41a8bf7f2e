/** Speaks HTTP to a running server. */
import type { RouteChange } from '../contract/api.ts'

/** A server on the same machine that takes longer is not to be steered. */
const answerTimeoutMs = 2_000

export class ShadowClient {
  readonly #url: string
  readonly #token: string

  constructor(options: { url: string; token: string }) {
    this.#url = options.url
    this.#token = options.token
  }

  /** Whether a server that knows this token answers at the address. */
  async answers(): Promise<boolean> {
    try {
      const reply = await fetch(`${this.#url}/shadow/v1/status`, {
        headers: { authorization: `Bearer ${this.#token}` },
        signal: AbortSignal.timeout(answerTimeoutMs),
      })
      return reply.ok
    } catch {
      return false
    }
  }

  /** Resolves when the route answers as asked. @throws Error with the server's own words */
  async changeRoute(task: string, change: RouteChange): Promise<void> {
    const reply = await fetch(`${this.#url}/shadow/v1/tasks/${encodeURIComponent(task)}/route`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' },
      body: JSON.stringify(change),
    })
    if (!reply.ok) throw new Error(await reply.text())
  }
}
