/** Speaks HTTP to a running server. */
import type { RouteChange } from '../contract/api.ts'

export class ShadowClient {
  readonly #url: string
  readonly #token: string

  constructor(options: { url: string; token: string }) {
    this.#url = options.url
    this.#token = options.token
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
