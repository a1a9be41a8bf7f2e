/** What is taken out of which task's calls, in memory and kept up with pipeline.db. */
import type { Redaction } from '../../contract/redaction.ts'
import type { PipelineStore } from '../../store/pipeline/pipeline-store.ts'
import { Redactor } from '../../store/redaction/redactor.ts'

const pollIntervalMs = 1_000

export class RedactionTable {
  readonly #pipeline: PipelineStore
  #tasks: ReadonlyMap<string, Redactor | null> = new Map()
  #others: Redactor | null = null
  #known = ''
  #timer: NodeJS.Timeout | null = null

  constructor(pipeline: PipelineStore) {
    this.#pipeline = pipeline
  }

  /** Null where nothing is to be taken out. */
  redactorOf(task: string): Redactor | null {
    const own = this.#tasks.get(task)
    return own === undefined ? this.#others : own
  }

  /** @throws ShadowError when what is set can't be read: calls must not be written with what should be taken out */
  async start(): Promise<void> {
    await this.#refresh()
    this.#timer = setInterval(() => void this.#refresh().catch(() => {}), pollIntervalMs)
    this.#timer.unref()
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
  }

  async #refresh(): Promise<void> {
    const { redaction: common } = await this.#pipeline.settings.store()
    const tasks = (await this.#pipeline.tasks.list()).map(
      ({ name, config }) => [name, config.redaction] as const,
    )
    const now = JSON.stringify([common, tasks])
    if (now === this.#known) return
    this.#tasks = new Map(tasks.map(([name, own]) => [name, redactorFor(common, own)]))
    this.#others = redactorFor(common)
    this.#known = now
  }
}

/** A task's rules come on top of the store's. */
export function redactorFor(...rules: readonly Redaction[]): Redactor | null {
  const kinds = [...new Set(rules.flatMap((each) => each.kinds))]
  const patterns = rules.flatMap((each) => each.patterns)
  return kinds.length + patterns.length === 0 ? null : new Redactor({ kinds, patterns })
}
