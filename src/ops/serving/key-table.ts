/** The keys to the proxy in memory, kept up with pipeline.db: a key that is revoked is refused a second later. */
import type { Access, KnownKey } from '../../../proxy/proxy.ts'
import { hashOf } from '../../store/pipeline/keys.ts'
import type { PipelineStore } from '../../store/pipeline/pipeline-store.ts'

const pollIntervalMs = 1_000

export class KeyTable implements Access {
  readonly isRequired: boolean
  readonly #pipeline: PipelineStore
  #keys = new Map<string, KnownKey>()
  #timer: NodeJS.Timeout | null = null

  constructor(pipeline: PipelineStore, isRequired: boolean) {
    this.#pipeline = pipeline
    this.isRequired = isRequired
  }

  find(secret: string): KnownKey | null {
    return this.#keys.get(hashOf(secret)) ?? null
  }

  async start(): Promise<void> {
    await this.#refresh()
    this.#timer = setInterval(() => void this.#refresh().catch(() => {}), pollIntervalMs)
    this.#timer.unref()
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
  }

  async #refresh(): Promise<void> {
    this.#keys = await this.#pipeline.keys.usable()
  }
}
