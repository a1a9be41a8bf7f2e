/** A proxy in a process of its own, for tests that kill it. Says on its channel where it listens. */
import { pino } from 'pino'
import { createHttpUpstream, createProxy } from '../../proxy/proxy.ts'
import { dialects } from '../../src/dialects/index.ts'
import { openCaptureStore } from '../../src/store/capture/index.ts'

const { STAND_IN = '', STORE_HOME = '', IDLE_MS } = process.env
const store = await openCaptureStore(STORE_HOME, dialects, {
  onTrouble: (trouble) => process.send?.({ trouble }),
})
const proxy = createProxy({
  upstream: createHttpUpstream({
    name: 'frontier',
    baseUrl: STAND_IN,
    ...(IDLE_MS === undefined ? {} : { timeouts: { idleMs: Number(IDLE_MS) } }),
  }),
  owned: null,
  routes: { routeOf: () => ({ state: 'frontier', version: null }), versions: () => [] },
  store,
  tasks: { rules: () => [] },
  logger: pino({ level: 'silent' }),
})
const { port } = await proxy.listen(0, '127.0.0.1')
process.send?.({ port })
