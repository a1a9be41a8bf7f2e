/** Speaks HTTP to a running server. */
import {
  type DeletionOrder,
  type Imported,
  type ImportOrder,
  imported,
  type RetentionOrder,
  type RouteChange,
} from '../contract/api.ts'
import {
  type CallSelection,
  type DeletionPlan,
  type DeletionResult,
  deletionPlan,
  deletionResult,
} from '../contract/deletion.ts'
import type { RetentionRules } from '../contract/store-config.ts'

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
    await this.#send('PUT', `/tasks/${encodeURIComponent(task)}/route`, change)
  }

  /** What `deleteCalls` would take now. @throws Error with the server's own words */
  async planDeletion(selection: CallSelection): Promise<DeletionPlan> {
    const order: DeletionOrder = { selection, isDryRun: true }
    return deletionPlan.parse(await this.#send('POST', '/deletions', order))
  }

  /** Resolves when they are gone. @throws Error with the server's own words */
  async deleteCalls(selection: CallSelection): Promise<DeletionResult> {
    const order: DeletionOrder = { selection, isDryRun: false }
    return deletionResult.parse(await this.#send('POST', '/deletions', order))
  }

  /** Imports lines, each a call. @throws Error with the server's own words */
  async importCalls(lines: readonly string[], task: string): Promise<Imported> {
    const order: ImportOrder = { lines: [...lines], task }
    return imported.parse(await this.#send('POST', '/calls', order))
  }

  /** Lets go of what the rules keep no longer, or says what that would be. @throws Error with the server's own words */
  async retain(rules: RetentionRules, isDryRun: boolean): Promise<DeletionPlan> {
    const order: RetentionOrder = { rules, isDryRun }
    return deletionPlan.parse(await this.#send('POST', '/retention', order))
  }

  async #send(method: string, path: string, body: unknown): Promise<unknown> {
    const reply = await fetch(`${this.#url}/shadow/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    if (!reply.ok) throw new Error(await reply.text())
    return await reply.json()
  }
}
