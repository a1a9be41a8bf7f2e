/** One way to the stand-in upstream, and the clients that go it. */
import { Pool } from 'undici'
import { median } from '../row.ts'

/** `paced` is a stream as a model makes it, a chunk a millisecond; `stream` comes as fast as it can. */
export type Workload = 'short' | 'context' | 'stream' | 'paced'

export interface Load {
  readonly workload: Workload
  readonly clients: number
  readonly requests: number
}

export interface Measured {
  /** Milliseconds, of whole requests. */
  readonly p50: number
  readonly p99: number
  /** Median time to the first byte of the body, milliseconds. */
  readonly firstByte: number
  readonly requestsPerSecond: number
}

/** About 4,000 tokens, a history of forty messages. */
const history = Array.from({ length: 40 }, (_, place) => ({
  role: place % 2 === 0 ? 'user' : 'assistant',
  content: `${place}: ${'the quick brown fox jumps over the lazy dog and '.repeat(10)}`,
}))

export class Path {
  readonly origin: string
  private readonly headers: Record<string, string>
  private client: Pool | null = null
  private sent = 0

  constructor(origin: string, headers: Record<string, string> = {}) {
    this.origin = origin
    this.headers = { 'content-type': 'application/json', authorization: 'Bearer sk-bench', ...headers }
  }

  get requestsSent(): number {
    return this.sent
  }

  /** Closed loop: each client sends its next request when its last is answered. */
  async measure({ workload, clients, requests }: Load): Promise<Measured> {
    await this.client?.close()
    this.client = new Pool(this.origin, { connections: clients })
    const times: number[] = []
    const firstBytes: number[] = []
    let left = requests
    const start = performance.now()
    await Promise.all(
      Array.from({ length: clients }, async () => {
        while (left-- > 0) await this.ask(workload, times, firstBytes)
      }),
    )
    const seconds = (performance.now() - start) / 1000
    const sorted = times.toSorted((a, b) => a - b)
    return {
      p50: median(sorted),
      p99: sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN,
      firstByte: median(firstBytes),
      requestsPerSecond: requests / seconds,
    }
  }

  private async ask(workload: Workload, times: number[], firstBytes: number[]): Promise<void> {
    const question = `Question ${this.sent++}: which tyre fits a wheel of 28 inches?`
    const body = JSON.stringify({
      model: workload === 'paced' ? 'paced' : 'stand-in',
      stream: workload === 'stream' || workload === 'paced',
      messages: [
        { role: 'system', content: 'You are a helpful assistant for a small shop that sells bicycles.' },
        ...(workload === 'context' ? history : []),
        { role: 'user', content: question },
      ],
    })
    const start = performance.now()
    const reply = await this.client?.request({
      path: '/v1/chat/completions',
      method: 'POST',
      headers: this.headers,
      body,
    })
    if (reply?.statusCode !== 200) {
      throw new Error(`${this.origin} answered a request with status ${reply?.statusCode}.`)
    }
    let firstByte: number | null = null
    for await (const _ of reply.body) firstByte ??= performance.now() - start
    firstBytes.push(firstByte ?? Number.NaN)
    times.push(performance.now() - start)
  }

  async close(): Promise<void> {
    await this.client?.close()
  }
}
