/** The proxy as it is shipped, capturing durably into the home that it is given. */
import { pino } from 'pino'
import { createHttpUpstream, createProxy } from '../../proxy/proxy.ts'
import { keepHeapSteady } from '../../src/lib/steady-heap.ts'
import { dialects } from '../../src/dialects/index.ts'
import { openCaptureStore } from '../../src/store/capture/index.ts'

keepHeapSteady()
const store = await openCaptureStore(process.env['BENCH_HOME'] ?? '', dialects, {
  synchronous: process.env['BENCH_SYNCHRONOUS'] === 'full' ? 'full' : 'normal',
})
const proxy = createProxy({
  upstream: createHttpUpstream({ name: 'stand-in', baseUrl: `${process.env['BENCH_UPSTREAM']}/v1` }),
  owned: null,
  routes: { routeOf: () => ({ state: 'frontier', version: null }), versions: () => [] },
  store,
  tasks: { rules: () => [] },
  logger: pino({ level: 'warn' }),
})
const { port } = await proxy.listen(0, '127.0.0.1')
process.send?.(port)
// Asked between two measurements: brings everything into the tables. Asked for its memory, it collects garbage before it
// says how much is in use; that also takes from the code what it has learnt, so that it isn't done where time is measured.
process.on('message', (question) => {
  void store.reader.stats().then(() => {
    if (question === 'memory') globalThis.gc?.()
    process.send?.(process.memoryUsage.rss())
  })
})
