/**
 * The upstream behind the route `owned`: one serving process for each base model, with the adapters of every
 * version that is asked for. What fails here the router lets the frontier answer.
 */
import type { Logger } from 'pino'
import { z } from 'zod'
import type { Upstream, UpstreamReply, UpstreamRequest } from '../../contract/upstream.ts'
import { ShadowError } from '../../lib/error.ts'
import type { ServedModel } from '../../serve/protocol.ts'
import { BaseServer } from './base-server.ts'

/** A version with what it stands on. */
export interface OwnedVersion {
  /** Path of the base model's file. */
  modelPath: string
  model: ServedModel
}

const namesModel = z.object({ model: z.string() })

export class OwnedServer implements Upstream {
  readonly name = 'owned'
  readonly #connect: (socketPath: string) => Upstream
  readonly #find: (version: string) => Promise<OwnedVersion>
  readonly #log: Logger
  readonly #bases = new Map<string, BaseServer>()
  readonly #baseOf = new Map<string, BaseServer>()

  /** @param options.find what a version stands on, checked; throws ShadowError where it can't serve */
  constructor(options: {
    connect: (socketPath: string) => Upstream
    find: (version: string) => Promise<OwnedVersion>
    log: Logger
  }) {
    this.#connect = options.connect
    this.#find = options.find
    this.#log = options.log
  }

  /**
   * Resolves when the version answers.
   * @throws ShadowError engine_failed | not_found | invalid_file; every other version goes on as before
   */
  async ensure(version: string): Promise<void> {
    if (this.#baseOf.get(version)?.has(version) === true) return
    const { modelPath, model } = await this.#find(version)
    const base = this.#bases.get(modelPath) ?? new BaseServer(modelPath, this.#connect, this.#log)
    this.#bases.set(modelPath, base)
    await base.load(model)
    this.#baseOf.set(version, base)
  }

  /** A request that names a version which no route has asked for yet waits for it. @throws ShadowError as `ensure` does */
  async request(request: UpstreamRequest): Promise<UpstreamReply> {
    if (!(request.body instanceof Uint8Array)) {
      throw new ShadowError('invalid_request', 'The owned server takes whole bodies only.')
    }
    const { model } = namesModel.parse(JSON.parse(Buffer.from(request.body).toString('utf8')))
    // One that was loaded and isn't up is being started again, which no agent should wait for.
    const known = this.#baseOf.get(model)
    if (known === undefined) await this.ensure(model)
    const base = known ?? this.#baseOf.get(model)
    if (base === undefined) throw new ShadowError('upstream_unreachable', `${model} is not loaded.`)
    return await base.request(request)
  }

  async close(): Promise<void> {
    await Promise.all([...this.#bases.values()].map((base) => base.close()))
  }
}
