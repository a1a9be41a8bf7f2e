/** A real proxy over a real store in a folder of its own, in front of a stand-in upstream. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OpenAI } from 'openai'
import { pino } from 'pino'
import type { UpstreamTimeouts } from '../../proxy/http-upstream.ts'
import { createHttpUpstream, createProxy, type ProxyOptions } from '../../proxy/proxy.ts'
import { dialects } from '../../src/dialects/index.ts'
import { openCaptureStore } from '../../src/store/capture/index.ts'
import { type Answer, startStandIn } from './stand-in-upstream.ts'

export interface ProxySetUp {
  answer?: Answer
  timeouts?: UpstreamTimeouts
  apiKey?: string
  /** Replaces the stand-in's URL, for an upstream that isn't there. */
  baseUrl?: string
  options?: Partial<ProxyOptions>
}

export async function startProxy(setUp: ProxySetUp = {}) {
  const home = await mkdtemp(join(tmpdir(), 'shadow-proxy-'))
  const standIn = await startStandIn(setUp.answer)
  const store = await openCaptureStore(home, dialects)
  const upstream = createHttpUpstream({
    name: 'frontier',
    baseUrl: setUp.baseUrl ?? standIn.baseUrl,
    ...(setUp.apiKey === undefined ? {} : { apiKey: setUp.apiKey }),
    ...(setUp.timeouts === undefined ? {} : { timeouts: setUp.timeouts }),
  })
  const proxy = createProxy({
    upstream,
    owned: null,
    routes: { routeOf: () => ({ state: 'frontier', version: null }), versions: () => [] },
    store,
    tasks: { rules: () => [] },
    logger: pino({ level: 'silent' }),
    ...setUp.options,
  })
  const listening = await proxy.listen(0, '127.0.0.1')
  const origin = `http://127.0.0.1:${listening.port}`
  return {
    home,
    standIn,
    store,
    proxy,
    origin,
    reader: store.reader,
    client: (path = '/v1', headers: Record<string, string> = {}) =>
      new OpenAI({ baseURL: `${origin}${path}`, apiKey: 'sk-agent', maxRetries: 0, defaultHeaders: headers }),
    async [Symbol.asyncDispose]() {
      await listening.close(100)
      await upstream.close()
      await store.close()
      await store.close()
      await standIn.close()
      await rm(home, { recursive: true, force: true })
    },
  }
}
