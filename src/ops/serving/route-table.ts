/** The routes in memory, kept up with pipeline.db: what the router asks on every call. */
import type { Logger } from 'pino'
import type { Route, RouteSource } from '../../contract/route.ts'
import { formatVersion } from '../../contract/route.ts'
import { messageOf } from '../../lib/error.ts'
import type { PipelineStore } from '../../store/pipeline/pipeline-store.ts'

/** A change made by another process takes effect within this time. */
const pollIntervalMs = 250

export class RouteTable implements RouteSource {
  readonly #pipeline: PipelineStore
  readonly #ready: (version: string) => Promise<void>
  readonly #log: Logger
  #routes = new Map<string, Pick<Route, 'state' | 'version'>>()
  #versions: readonly string[] = []
  #seen = -1
  #refreshing: Promise<void> = Promise.resolve()
  #timer: NodeJS.Timeout | null = null

  /** @param ready resolves when the version answers; a route waits for it before it takes effect */
  constructor(pipeline: PipelineStore, ready: (version: string) => Promise<void>, log: Logger) {
    this.#pipeline = pipeline
    this.#ready = ready
    this.#log = log
  }

  routeOf(task: string): Pick<Route, 'state' | 'version'> {
    return this.#routes.get(task) ?? { state: 'frontier', version: null }
  }

  versions(): readonly string[] {
    return this.#versions
  }

  /** Resolves when every route that can be served is. */
  async start(): Promise<void> {
    this.#timer = setInterval(() => void this.#poll(), pollIntervalMs)
    this.#timer.unref()
    await this.refresh()
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
  }

  /** Reads the routes now. Going back to the frontier takes effect before anything is made ready. */
  refresh(): Promise<void> {
    // One after another: an older reading must not overwrite a newer one.
    const refreshed = this.#refreshing.then(() => this.#refresh())
    this.#refreshing = refreshed.catch(() => {})
    return refreshed
  }

  async #refresh(): Promise<void> {
    const routes = await this.#pipeline.routes.current()
    const versions = await this.#pipeline.versions.list(null)
    this.#versions = versions.map((version) => formatVersion(version.task, version.number))
    // Going back to the frontier waits for nothing.
    for (const { task, state } of routes) if (state === 'frontier') this.#routes.delete(task)
    for (const { task, state, version } of routes) {
      if (state !== 'owned' || version === null) continue
      try {
        await this.#ready(version)
        this.#routes.set(task, { state, version })
      } catch (error) {
        const answers = this.#routes.get(task)?.version ?? 'the frontier'
        this.#log.error({ task, version, answers, error: messageOf(error) }, 'a version can not be served')
      }
    }
  }

  async #poll(): Promise<void> {
    try {
      const version = this.#pipeline.dataVersion()
      if (version === this.#seen) return
      this.#seen = version
      await this.refresh()
    } catch (error) {
      this.#log.error({ error: messageOf(error) }, 'the routes could not be read; they stay as they were')
    }
  }
}
