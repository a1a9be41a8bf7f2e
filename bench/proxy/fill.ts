/** Fills a home with conversations, a process of its own, and says how many bytes of messages they hold. */
import { randomBytes } from 'node:crypto'
import { dialects } from '../../src/dialects/index.ts'
import { openCaptureStore } from '../../src/store/capture/index.ts'
import { recordCall } from '../../tests/support/store.ts'

const turnsPerSession = 20
const { BENCH_HOME = '', BENCH_MESSAGES = '0', BENCH_MESSAGE_BYTES = '200' } = process.env
const messages = Number(BENCH_MESSAGES)

const store = await openCaptureStore(BENCH_HOME, dialects)
let stored = 0
let uniqueBytes = 0
while (stored < messages) {
  const history: { role: string; content: string }[] = []
  const session = `session ${stored}`
  for (let turn = 0; turn < turnsPerSession && stored < messages; turn++) {
    history.push(message('user'))
    const reply = message('assistant')
    await recordCall(store, { messages: history, replies: [reply], session })
    history.push(reply)
    stored += 2
  }
}
await store.close()
process.send?.(uniqueBytes)

/** Of random text, which neither a compressor nor luck makes smaller. */
function message(role: string): { role: string; content: string } {
  const made = { role, content: randomBytes(Number(BENCH_MESSAGE_BYTES)).toString('base64url') }
  made.content = made.content.slice(0, Number(BENCH_MESSAGE_BYTES) - 34)
  uniqueBytes += Buffer.byteLength(JSON.stringify(made))
  return made
}
