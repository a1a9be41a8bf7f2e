/** The capture proxy. See README.md in this folder. */
import { Hono } from 'hono'
import type { Logger } from 'pino'
import type { RouteSource, Upstream } from '../src/contract/index.ts'
import { ShadowError } from '../src/lib/error.ts'
import type { CaptureStore } from '../src/store/capture/index.ts'
import { type Access, openAccess } from './access.ts'
import { callIds } from './call-id.ts'
import type { Capturing, ProxyContext, ProxyCounts, RedactionRules } from './context.ts'
import { defaultLimits, type ProxyLimits } from './limits.ts'
import { Durations, renderMetrics } from './metrics.ts'
import { createProxyServer, type Listening, listen } from './server.ts'
import type { TaskRules } from './task-of.ts'

export { type Access, callerOf, type KnownKey, keyPrefix } from './access.ts'
export type { ProxyCounts } from './context.ts'
export { createHttpUpstream, type UpstreamTimeouts } from './http-upstream.ts'
export type { Listening } from './server.ts'
export type { TaskRules } from './task-of.ts'

export interface ProxyOptions {
  /** The frontier. */
  upstream: Upstream
  /** Others by their names; see `chooseUpstream` for which of them answers. */
  upstreams?: ReadonlyMap<string, Upstream>
  /** What answers for owned versions; null where nothing does. */
  owned: Upstream | null
  routes: RouteSource
  store: CaptureStore
  tasks: TaskRules
  logger: Logger
  /**
   * `available` (the default) serves a call that can't be recorded, and counts it; `strict` refuses it before it
   * goes to any upstream, and withholds the end of a reply that could not be recorded after all.
   */
  capturing?: Capturing
  /** Keys to this proxy; open by default, which is for the loopback alone. */
  access?: Access
  /** Nothing is taken out by default. */
  redaction?: RedactionRules
  /** What differs from the defaults. */
  limits?: Partial<ProxyLimits>
  /** Served beside the proxy, at the root. */
  mount?: Hono
}

export interface Proxy {
  /** `/health` and whatever was mounted; the agents' paths are not in it. */
  readonly app: Hono
  readonly counts: Readonly<ProxyCounts>
  /**
   * Port 0 picks a free one.
   * @throws ShadowError port_in_use
   */
  listen(port: number, host: string): Promise<Listening>
  /** Closes whatever listens; see `Listening`. */
  close(drainMs?: number): Promise<void>
}

/** Upstreams and store stay the caller's to close, after the proxy. */
export function createProxy(options: ProxyOptions): Proxy {
  const { mount, limits, capturing = 'available', access = openAccess, ...rest } = options
  const counts: ProxyCounts = { captured: 0, notCaptured: 0, refused: 0, passedThrough: 0, inFlight: 0 }
  const context: ProxyContext = {
    ...rest,
    upstreams: options.upstreams ?? new Map(),
    redaction: options.redaction ?? { redactorOf: () => null },
    limits: { ...defaultLimits, ...limits },
    capturing,
    access,
    durations: new Durations(),
    counts,
    newId: callIds(),
  }
  const app = new Hono()
  app.get('/health', (c) =>
    c.json({
      status: counts.notCaptured === 0 ? 'ok' : 'degraded',
      upstream: options.upstream.name,
      ...counts,
    }),
  )
  app.get('/metrics', (c) =>
    c.text(renderMetrics(context), 200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }),
  )
  if (mount !== undefined) app.route('/', mount)
  app.notFound((c) => {
    const error = new ShadowError('not_found', `There is nothing at ${c.req.path}.`, {
      hint: 'Agents use /v1 or /tasks/NAME/v1 as their base URL.',
    })
    return c.json(error.toOpenAI(), 404)
  })
  const open: Listening[] = []
  return {
    app,
    counts,
    async listen(port, host) {
      const listening = await listen(createProxyServer(context, app), port, host)
      open.push(listening)
      return listening
    },
    async close(drainMs) {
      await Promise.all(open.splice(0).map((listening) => listening.close(drainMs)))
    },
  }
}
