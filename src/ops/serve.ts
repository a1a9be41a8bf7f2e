/** `shadow serve`: the capture proxy, the router's owned side and the API, composed. */
import { randomBytes } from 'node:crypto'
import type { Hono } from 'hono'
import type { Logger } from 'pino'
import { createHttpUpstream, createProxy, type UpstreamTimeouts } from '../../proxy/proxy.ts'
import type { Imported, RouteChange } from '../contract/api.ts'
import { dialects } from '../dialects/index.ts'
import { messageOf, ShadowError } from '../lib/error.ts'
import { openCaptureStore } from '../store/capture/index.ts'
import { type Deleter, resumeDeletions } from './deletion.ts'
import { enforceRetention } from './retention.ts'
import { findServer, removeServerFile, writeServerFile } from './server-file.ts'
import { findVersion } from './serving/find-version.ts'
import { KeyTable } from './serving/key-table.ts'
import { OwnedServer } from './serving/owned-server.ts'
import { RedactionTable } from './serving/redaction-table.ts'
import { RetentionLoop } from './serving/retention-loop.ts'
import { RouteTable } from './serving/route-table.ts'
import { TaskTable } from './serving/task-table.ts'
import { importBatch } from './transfer/import-calls.ts'
import type { UpstreamSetting } from './upstream-settings.ts'
import type { Workspace } from './workspace.ts'

export interface ServeOptions {
  host: string
  port: number
  /** Whether whoever reaches a host other than the loopback needs no key. */
  isInsecure: boolean
  upstream: UpstreamSetting
  /** Others by their names. */
  upstreams?: ReadonlyMap<string, UpstreamSetting>
  log: Logger
  /** `strict` refuses calls that can't be recorded; `available` serves and counts them. */
  capturing: 'available' | 'strict'
  /** `full` makes every record survive the loss of power; the store's own setting where it is left out. */
  synchronous?: 'normal' | 'full'
  /** Bytes of the longest captured request; the proxy's default where it is left out. */
  maxBodyBytes?: number
  /** For all frontiers; the proxy's defaults where they are left out. */
  timeouts?: UpstreamTimeouts
  /** The server's own API, mounted beside the proxy; it is handed what may steer the server. */
  api: (control: ServerControl) => Hono
}

export interface ServerControl extends Deleter {
  readonly token: string
  changeRoute(task: string, change: RouteChange): Promise<void>
  importCalls(lines: readonly string[], task: string): Promise<Imported>
}

export interface RunningServer {
  readonly url: string
  close(): Promise<void>
}

/** @throws ShadowError port_in_use | store_failed | conflict when a server runs in this home already */
export async function serve(workspace: Workspace, options: ServeOptions): Promise<RunningServer> {
  const { pipeline, home } = workspace
  const { log } = options
  const other = await findServer(home)
  if (other !== null) {
    throw new ShadowError(
      'conflict',
      `A server runs in this home already: ${other.url} (process ${other.pid}).`,
      {
        hint: 'Stop it first, or use another SHADOW_HOME.',
      },
    )
  }
  // Closed from the last to the first, also when a later step of starting fails.
  await using starting = new AsyncDisposableStack()
  const store = starting.adopt(
    await openCaptureStore(home, dialects, {
      synchronous: options.synchronous ?? (await pipeline.settings.store()).synchronous,
      onTrouble: (trouble) => log.error(trouble),
    }),
    (opened) => opened.close(),
  )
  const owned = starting.adopt(
    new OwnedServer({
      connect: (socketPath) => createHttpUpstream({ name: 'owned', baseUrl: 'http://engine/v1', socketPath }),
      find: (version) => findVersion(workspace, version),
      log,
    }),
    (server) => server.close(),
  )
  const routes = starting.adopt(new RouteTable(pipeline, (version) => owned.ensure(version), log), (table) =>
    table.close(),
  )
  const tasks = starting.adopt(new TaskTable(pipeline), (table) => table.close())
  await tasks.start()
  const redaction = starting.adopt(new RedactionTable(pipeline), (table) => table.close())
  await redaction.start()
  const keys = starting.adopt(
    new KeyTable(pipeline, !isLoopback(options.host) && !options.isInsecure),
    (table) => table.close(),
  )
  await keys.start()

  const control: ServerControl = {
    token: randomBytes(24).toString('base64url'),
    async changeRoute(task, change) {
      const { sourceKey, ...event } = change
      if (change.version !== null) await owned.ensure(change.version)
      await pipeline.routes.change({ task, ...event, ...(sourceKey === undefined ? {} : { sourceKey }) })
      await routes.refresh()
    },
    planDeletion: (selection) => store.planDeletion(selection),
    delete: (selection) => store.delete(selection),
    importCalls: (lines, task) => importBatch(workspace, store, lines, task),
    planRetention: (rules) => store.planRetention(rules),
    retain: (rules) => store.retain(rules),
  }
  const resumed = resumeDeletions(workspace, store).catch((error: unknown) => {
    log.error({ error: messageOf(error) }, 'a deletion that was killed could not be gone on with')
  })
  starting.defer(() => resumed)
  const retention = starting.adopt(new RetentionLoop(() => enforceRetention(workspace, store), log), (loop) =>
    loop.close(),
  )
  retention.start()
  const connect = (name: string, { baseUrl, apiKey }: UpstreamSetting) =>
    starting.adopt(
      createHttpUpstream({
        name,
        baseUrl,
        ...(apiKey === null ? {} : { apiKey }),
        ...(name === 'anthropic' ? { keyHeader: 'x-api-key' } : {}),
        ...(options.timeouts === undefined ? {} : { timeouts: options.timeouts }),
      }),
      (client) => client.close(),
    )
  const upstream = connect('frontier', options.upstream)
  const named = [...(options.upstreams ?? [])].map(
    ([name, setting]) => [name, connect(name, setting)] as const,
  )
  const proxy = createProxy({
    upstream,
    upstreams: new Map(named),
    owned,
    routes,
    tasks,
    redaction,
    store,
    logger: log,
    access: keys,
    capturing: options.capturing,
    limits: options.maxBodyBytes === undefined ? {} : { requestBytes: options.maxBodyBytes },
    mount: options.api(control),
  })
  const listening = starting.adopt(await proxy.listen(options.port, options.host), (server) => server.close())
  const host = options.host.includes(':') ? `[${options.host}]` : options.host
  const url = `http://${host}:${listening.port}`
  await writeServerFile(home, { pid: process.pid, url, token: control.token })
  starting.defer(() => removeServerFile(home))
  // The frontier answers until the engine is up: a slow start must not keep the port closed.
  const started = routes.start().catch((error: unknown) => {
    log.error({ error: messageOf(error) }, 'the owned model is not ready; the frontier answers')
  })
  starting.defer(() => started)

  const running = starting.move()
  return { url, close: () => running.disposeAsync() }
}

/** Whether only this machine can reach what listens on `host`. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d+){3}$/.test(host)
}
