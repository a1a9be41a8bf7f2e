/** What the router needs of the tasks, in memory and kept up with pipeline.db. */
import type { Recognition } from '../../contract/task.ts'
import type { PipelineStore } from '../../store/pipeline/pipeline-store.ts'

const pollIntervalMs = 1_000

export class TaskTable {
  readonly #pipeline: PipelineStore
  #rules: readonly { task: string; recognise: Recognition }[] = []
  #upstreams: ReadonlyMap<string, string> = new Map()
  #usage: ReadonlySet<string> = new Set()
  #timer: NodeJS.Timeout | null = null

  constructor(pipeline: PipelineStore) {
    this.#pipeline = pipeline
  }

  /** Tasks that recognise calls by what they hold, oldest first; the first that fits has the call. */
  rules(): readonly { task: string; recognise: Recognition }[] {
    return this.#rules
  }

  /** Name of the upstream that the task asks for; null leaves it to the request. */
  upstreamOf(task: string): string | null {
    return this.#upstreams.get(task) ?? null
  }

  /** Whether streams of the task are to bring their token counts. */
  asksUsage(task: string): boolean {
    return this.#usage.has(task)
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
    const tasks = await this.#pipeline.tasks.list()
    this.#rules = tasks
      .filter(({ config }) => config.recognise.models.length > 0 || config.recognise.systemPrefix !== null)
      .toSorted((a, b) => a.createdAt - b.createdAt)
      .map(({ name, config }) => ({ task: name, recognise: config.recognise }))
    this.#usage = new Set(tasks.flatMap(({ name, config }) => (config.usage ? [name] : [])))
    this.#upstreams = new Map(
      tasks.flatMap(({ name, config }) => (config.upstream === null ? [] : [[name, config.upstream]])),
    )
  }
}
