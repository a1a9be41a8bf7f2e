/** A task that a tiny model can learn: the answer is always the same word. Captured through a real server. */
import { OpenAI } from 'openai'
import type { TestHome } from './home.ts'
import { replyWith, type StandInUpstream, startStandIn } from './stand-in-upstream.ts'

export const taskName = 'echo'
export const rightAnswer = 'ok'

export interface Traffic {
  readonly standIn: StandInUpstream
  readonly server: { url: string; pid: number; stop: () => Promise<void> }
  client(): OpenAI
}

/** Starts a stand-in frontier and `shadow serve` before it. */
export async function startTraffic(home: TestHome, stack: AsyncDisposableStack): Promise<Traffic> {
  const standIn = await startStandIn(replyWith(() => rightAnswer))
  stack.defer(() => standIn.close())
  const server = await startServer(home, standIn.baseUrl)
  return {
    standIn,
    server,
    client: () => new OpenAI({ baseURL: `${server.url}/tasks/${taskName}/v1`, apiKey: 'key', maxRetries: 0 }),
  }
}

export async function startServer(
  home: TestHome,
  upstream: string,
  more: readonly string[] = [],
): Promise<{ url: string; pid: number; stop: () => Promise<void> }> {
  const running = home.start(['serve', '--port', '0', '--upstream', upstream, '--log-level', 'warn', ...more])
  const said = await running.saw('shadow listens on ')
  const url = /listens on (\S+)\/v1/.exec(said)?.[1]
  if (url === undefined) throw new Error(`No address in ${said}`)
  return {
    url,
    pid: running.pid,
    async stop() {
      running.kill('SIGTERM')
      await running.finished
    },
  }
}

/** One call a session; each asks something of its own. */
export async function playSessions(client: OpenAI, count: number, first = 0): Promise<(string | null)[]> {
  const answers: (string | null)[] = []
  for (let index = first; index < first + count; index++) {
    const { data, response } = await client.chat.completions
      .create({ model: 'frontier-1', messages: [{ role: 'user', content: `request ${index}` }] })
      .withResponse()
    if (data.choices[0]?.message.content === undefined) throw new Error('An answer has content.')
    answers.push(response.headers.get('x-shadow-served-by'))
  }
  return answers
}

/** Settings with which the tiny model learns the task in a second or two. */
export function tinySettings(modelPath: string): string[] {
  return [
    `baseModel=${modelPath}`,
    'holdOut.sessions=12',
    'gate.minimumSample=10',
    'gate.margin=0.4',
    'serve.maxTokens=8',
    'train.learning_rate=0.01',
    'train.max_steps=24',
    'train.save_steps=4',
    'train.per_device_train_batch_size=8',
    'train.warmup_ratio=0.05',
  ]
}
