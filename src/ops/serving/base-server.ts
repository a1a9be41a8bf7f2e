/**
 * Keeps the serving process of one base model alive. One that dies is started again with the versions it had;
 * until it stands, requests fail, and the frontier answers them.
 */
import type { Logger } from 'pino'
import type { Upstream, UpstreamReply, UpstreamRequest } from '../../contract/upstream.ts'
import { messageOf, ShadowError } from '../../lib/error.ts'
import type { ServedModel } from '../../serve/protocol.ts'
import { ServingProcess } from './serving-process.ts'

/** Waits between restarts grow to this, so that a model that can't load doesn't burn the machine. */
const longestRestartDelayMs = 30_000

export class BaseServer {
  readonly #modelPath: string
  readonly #connect: (socketPath: string) => Upstream
  readonly #log: Logger
  /** Versions that have loaded, and so load again. */
  readonly #loaded = new Map<string, ServedModel>()
  #running: { process: ServingProcess; upstream: Upstream } | null = null
  #starting: Promise<void> | null = null
  #failures = 0
  #closed = false

  constructor(modelPath: string, connect: (socketPath: string) => Upstream, log: Logger) {
    this.#modelPath = modelPath
    this.#connect = connect
    this.#log = log
  }

  /** Whether the version answers now. */
  has(version: string): boolean {
    return this.#running !== null && this.#loaded.has(version)
  }

  /** Resolves when the version answers. @throws ShadowError engine_failed; versions loaded before stay */
  async load(model: ServedModel): Promise<void> {
    await this.#start()
    if (this.#running === null) throw new ShadowError('engine_failed', 'The serving process is not up.')
    await this.#running.process.load(model)
    this.#loaded.set(model.name, model)
  }

  async request(request: UpstreamRequest): Promise<UpstreamReply> {
    if (this.#running === null) {
      throw new ShadowError('upstream_unreachable', 'The serving process is being started again.')
    }
    return await this.#running.upstream.request(request)
  }

  async close(): Promise<void> {
    this.#closed = true
    const running = this.#running
    this.#running = null
    await running?.process.close()
  }

  async #start(): Promise<void> {
    if (this.#running !== null) return
    this.#starting ??= this.#startProcess().finally(() => {
      this.#starting = null
    })
    await this.#starting
  }

  async #startProcess(): Promise<void> {
    const process = await ServingProcess.start({ modelPath: this.#modelPath, models: [] })
    // One by one: a version that can't load any more must not take the others with it.
    for (const model of this.#loaded.values()) {
      try {
        await process.load(model)
      } catch (error) {
        this.#loaded.delete(model.name)
        this.#log.error(
          { version: model.name, error: messageOf(error) },
          'a version can not be served any more',
        )
      }
    }
    if (this.#closed) {
      await process.close()
      return
    }
    this.#running = { process, upstream: this.#connect(process.socketPath) }
    this.#failures = 0
    void process.exited.then((reason) => this.#restart(process, reason))
  }

  async #restart(ended: ServingProcess, reason: string): Promise<void> {
    if (this.#closed || this.#running?.process !== ended) return
    this.#running = null
    await ended.close()
    while (!this.#closed && this.#running === null) {
      const delayMs = Math.min(longestRestartDelayMs, 100 * 2 ** this.#failures++)
      this.#log.error({ reason, delayMs }, 'the serving process ended; the frontier answers until it is back')
      await new Promise((resolve) => setTimeout(resolve, delayMs))
      try {
        await this.#start()
      } catch (error) {
        this.#log.error({ error: messageOf(error) }, 'the serving process did not start')
      }
    }
  }
}
