/** Enforces retention while the server runs. */
import type { Logger } from 'pino'
import type { DeletionPlan } from '../../contract/deletion.ts'
import { messageOf } from '../../lib/error.ts'

const firstAfterMs = 5_000
const intervalMs = 60_000

export class RetentionLoop {
  readonly #enforce: () => Promise<DeletionPlan>
  readonly #log: Logger
  #timer: NodeJS.Timeout | null = null
  #underWay: Promise<void> = Promise.resolve()

  constructor(enforce: () => Promise<DeletionPlan>, log: Logger) {
    this.#enforce = enforce
    this.#log = log
  }

  start(): void {
    this.#again(firstAfterMs)
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#underWay
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  #again(afterMs: number): void {
    this.#timer = setTimeout(() => {
      this.#underWay = this.#round()
    }, afterMs)
    this.#timer.unref()
  }

  async #round(): Promise<void> {
    try {
      const { calls } = await this.#enforce()
      if (calls > 0) this.#log.info({ calls }, 'calls that are kept no longer were deleted')
    } catch (error) {
      this.#log.error({ error: messageOf(error) }, 'calls that are kept no longer could not be deleted')
    }
    this.#again(intervalMs)
  }
}
