/**
 * The engine child that serves: an OpenAI-compatible server on a Unix socket. It holds the base model once
 * and adapters by name. One of these answers live traffic, another the evaluation; both are the same code
 * with the same policy, so what was evaluated is what serves.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { messageOf, ShadowError } from '../../lib/error.ts'
import { siblingModule } from '../../lib/sibling-module.ts'
import { type ServeCommand, type ServedModel, serveEvent } from '../../serve/protocol.ts'

export interface ServingOptions {
  modelPath: string
  models: readonly ServedModel[]
}

/** Loading a model reads and unpacks it; a machine under load may need a while. */
const startTimeoutMs = 120_000
const stopTimeoutMs = 5_000

export class ServingProcess implements AsyncDisposable {
  readonly socketPath: string
  /** Settles when the child has ended, with the reason. */
  readonly exited: Promise<string>
  readonly #child: ChildProcess
  readonly #folder: string
  readonly #loads = new Map<number, PromiseWithResolvers<void>>()
  #nextLoad = 1

  /** @throws ShadowError engine_failed when the model can't be loaded */
  static async start(options: ServingOptions): Promise<ServingProcess> {
    const folder = await socketFolder()
    const serving = new ServingProcess(folder)
    try {
      await serving.#start(options)
    } catch (error) {
      await serving.close()
      throw error
    }
    return serving
  }

  private constructor(folder: string) {
    this.#folder = folder
    this.socketPath = join(folder, 'engine.sock')
    this.#child = fork(siblingModule(import.meta.url, '../../serve/serve-child'), {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.exited = new Promise((resolve) => {
      this.#child.once('error', (error) => resolve(messageOf(error)))
      this.#child.once('exit', (code, signal) =>
        resolve(signal === null ? `exit ${code}` : `signal ${signal}`),
      )
    })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Adds or replaces a model by name; resolves when it answers. */
  async load(model: ServedModel): Promise<void> {
    const id = this.#nextLoad++
    const loaded = Promise.withResolvers<void>()
    this.#loads.set(id, loaded)
    this.#send({ type: 'load', id, model })
    await loaded.promise
  }

  async close(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGTERM')
      const timer = setTimeout(() => this.#child.kill('SIGKILL'), stopTimeoutMs)
      await this.exited
      clearTimeout(timer)
    }
    await rm(this.#folder, { recursive: true, force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #start(options: ServingOptions): Promise<void> {
    const ready = Promise.withResolvers<void>()
    const timer = setTimeout(
      () => ready.reject(new ShadowError('engine_failed', 'The serving process did not start in time.')),
      startTimeoutMs,
    )
    this.#child.on('message', (raw) => {
      const event = serveEvent.parse(raw)
      if (event.type === 'ready') ready.resolve()
      if (event.type === 'loaded') this.#settle(event.id, null)
      if (event.type === 'failed') {
        const error = new ShadowError('engine_failed', event.message)
        if (event.id === null) ready.reject(error)
        else this.#settle(event.id, error)
      }
    })
    void this.exited.then((reason) => {
      const error = new ShadowError('engine_failed', `The serving process ended: ${reason}.`)
      ready.reject(error)
      for (const id of this.#loads.keys()) this.#settle(id, error)
    })
    this.#send({
      type: 'start',
      socketPath: this.socketPath,
      modelPath: options.modelPath,
      models: [...options.models],
    })
    try {
      await ready.promise
    } finally {
      clearTimeout(timer)
    }
  }

  #settle(id: number, error: ShadowError | null): void {
    const load = this.#loads.get(id)
    this.#loads.delete(id)
    if (error === null) load?.resolve()
    else load?.reject(error)
  }

  #send(command: ServeCommand): void {
    if (this.#child.connected) this.#child.send(command)
  }
}

/** A socket's path may have 107 bytes on Linux, 103 on macOS. */
const longestFolder = 80

/** @throws ShadowError engine_failed when there is no folder for temporary files */
async function socketFolder(): Promise<string> {
  const parent = tmpdir().length > longestFolder ? '/tmp' : tmpdir()
  try {
    return await mkdtemp(join(parent, 'shadow-'))
  } catch (cause) {
    throw new ShadowError('engine_failed', `There is no folder for temporary files: ${messageOf(cause)}.`, {
      hint: 'Point TMPDIR at a folder that can be written.',
      cause,
    })
  }
}
