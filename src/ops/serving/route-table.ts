/** The routes in memory, kept up with pipeline.db: what the router asks on every call. */
import type { Route, RouteSource } from '../../contract/route.ts'
import { formatVersion } from '../../contract/route.ts'
import type { PipelineStore } from '../../store/pipeline/pipeline-store.ts'

/** A change made by another process takes effect within this time. */
const pollIntervalMs = 250

export class RouteTable implements RouteSource {
  readonly #pipeline: PipelineStore
  readonly #onChange: (routes: readonly Route[]) => Promise<void>
  readonly #onError: (error: unknown) => void
  #routes = new Map<string, Route>()
  #versions: readonly string[] = []
  #seen = -1
  #refreshing: Promise<void> = Promise.resolve()
  #timer: NodeJS.Timeout | null = null

  /** @param onChange called before changed routes take effect, so that what they name can be made ready
   *  @param onError told of a refresh that failed in the background; the routes stay as they were */
  constructor(
    pipeline: PipelineStore,
    onChange: (routes: readonly Route[]) => Promise<void>,
    onError: (error: unknown) => void,
  ) {
    this.#pipeline = pipeline
    this.#onChange = onChange
    this.#onError = onError
  }

  routeOf(task: string): Pick<Route, 'state' | 'version'> {
    return this.#routes.get(task) ?? { state: 'frontier', version: null }
  }

  versions(): readonly string[] {
    return this.#versions
  }

  async start(): Promise<void> {
    await this.refresh()
    this.#timer = setInterval(() => void this.#poll(), pollIntervalMs)
    this.#timer.unref()
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
    for (const route of routes) if (route.state === 'frontier') this.#routes.set(route.task, route)
    await this.#onChange(routes)
    this.#routes = new Map(routes.map((route) => [route.task, route]))
  }

  async #poll(): Promise<void> {
    const version = this.#pipeline.dataVersion()
    if (version === this.#seen) return
    this.#seen = version
    await this.refresh().catch((error: unknown) => this.#onError(error))
  }
}
