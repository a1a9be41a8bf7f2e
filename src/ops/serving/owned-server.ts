/**
 * Keeps a serving process alive for the tasks whose route is `owned`, and is the upstream that the router
 * sends their calls to. A process that dies is started again; until it stands, requests fail here, and the
 * router lets the frontier answer them.
 */
import type { Logger } from 'pino'
import type { Upstream, UpstreamReply, UpstreamRequest } from '../../contract/upstream.ts'
import { messageOf, ShadowError } from '../../lib/error.ts'
import type { ServedModel } from '../../serve/protocol.ts'
import { ServingProcess } from './serving-process.ts'

/** Waits between restarts grow to this, so that a model that can't load doesn't burn the machine. */
const longestRestartDelayMs = 30_000

export class OwnedServer implements Upstream {
  readonly name = 'owned'
  readonly #connect: (socketPath: string) => Upstream
  readonly #modelPath: (baseModel: string) => string
  readonly #log: Logger
  readonly #models = new Map<string, ServedModel>()
  #process: ServingProcess | null = null
  #upstream: Upstream | null = null
  #starting: Promise<void> | null = null
  #failures = 0
  #closed = false

  constructor(options: {
    connect: (socketPath: string) => Upstream
    modelPath: (baseModel: string) => string
    log: Logger
  }) {
    this.#connect = options.connect
    this.#modelPath = options.modelPath
    this.#log = options.log
  }

  /**
   * Resolves when the version answers.
   * @throws ShadowError engine_failed
   */
  async ensure(baseModel: string, model: ServedModel): Promise<void> {
    const known = this.#models.get(model.name)
    this.#models.set(model.name, model)
    if (this.#process === null) await this.#start(baseModel)
    else if (known === undefined) await this.#process.load(model)
  }

  async request(request: UpstreamRequest): Promise<UpstreamReply> {
    if (this.#upstream === null) {
      throw new ShadowError('upstream_unreachable', 'The owned model is not loaded.')
    }
    return await this.#upstream.request(request)
  }

  /** Ends the process; `ensure` starts it again. */
  async stop(): Promise<void> {
    const process = this.#process
    this.#process = null
    this.#upstream = null
    this.#models.clear()
    await process?.close()
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.stop()
  }

  async #start(baseModel: string): Promise<void> {
    this.#starting ??= this.#startProcess(baseModel).finally(() => {
      this.#starting = null
    })
    await this.#starting
  }

  async #startProcess(baseModel: string): Promise<void> {
    const process = await ServingProcess.start({
      modelPath: this.#modelPath(baseModel),
      models: [...this.#models.values()],
    })
    if (this.#closed) return await process.close()
    this.#process = process
    this.#upstream = this.#connect(process.socketPath)
    this.#failures = 0
    void process.exited.then((reason) => this.#restart(process, baseModel, reason))
  }

  async #restart(ended: ServingProcess, baseModel: string, reason: string): Promise<void> {
    if (this.#closed || this.#process !== ended) return
    this.#process = null
    this.#upstream = null
    await ended.close()
    while (!this.#closed && this.#process === null && this.#models.size > 0) {
      const delayMs = Math.min(longestRestartDelayMs, 100 * 2 ** this.#failures++)
      this.#log.error({ reason, delayMs }, 'the serving process ended; the frontier answers until it is back')
      await new Promise((resolve) => setTimeout(resolve, delayMs))
      try {
        await this.#start(baseModel)
      } catch (error) {
        this.#log.error({ error: messageOf(error) }, 'the serving process did not start')
      }
    }
  }
}
