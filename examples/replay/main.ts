/**
 * Replays a file of chats through a running proxy:
 * `npm run replay -- FILE.jsonl --base-url http://127.0.0.1:8327/v1 [--task X] [--gold-server PORT]`
 */
import { parseArgs } from 'node:util'
import OpenAI from 'openai'
import { messageOf, ShadowError } from '../../src/lib/error.ts'
import { type Chat, readChats } from './chats.ts'
import { startGoldServer } from './gold-server.ts'
import { replay } from './replay.ts'

const usage = `npm run replay -- FILE.jsonl --base-url URL [options]
  --base-url URL      where requests go, with its /v1: a running \`shadow serve\`
  --task NAME         the task these calls belong to
  --gold-server PORT  also be the frontier on this port, answering what the file says
  --model NAME        model to ask for (gold-answers)
  --concurrency N     requests under way at once (8)
`

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      'base-url': { type: 'string' },
      task: { type: 'string' },
      'gold-server': { type: 'string' },
      model: { type: 'string', default: 'gold-answers' },
      concurrency: { type: 'string', default: '8' },
      help: { type: 'boolean', default: false },
    },
  })
  const [file] = positionals
  const baseUrl = values['base-url']
  if (values.help || file === undefined || baseUrl === undefined) {
    process.stdout.write(usage)
    if (!values.help) process.exitCode = 1
    return
  }
  const chats: Chat[] = []
  for await (const chat of readChats(file)) chats.push(chat)
  await using stack = new AsyncDisposableStack()
  if (values['gold-server'] !== undefined) {
    const gold = await startGoldServer(chats, wholeNumber('--gold-server', values['gold-server']))
    stack.defer(() => gold.close())
    process.stdout.write(`The right answers are served on ${gold.url}\n`)
  }
  const begun = performance.now()
  const result = await replay(chats, {
    client: new OpenAI({
      baseURL: taskUrl(baseUrl, values.task),
      apiKey: process.env['OPENAI_API_KEY'] ?? 'replay',
    }),
    model: values.model,
    concurrency: wholeNumber('--concurrency', values.concurrency),
    sessionPrefix: `replay-${Date.now().toString(36)}`,
    onAnswer: (done) => {
      if (done % 500 === 0) process.stdout.write(`  ${done} of ${chats.length}\n`)
    },
  })
  const seconds = ((performance.now() - begun) / 1000).toFixed(1)
  const share = result.calls === 0 ? 0 : (100 * result.exact) / result.calls
  process.stdout.write(`${result.calls} calls in ${seconds} s, ${share.toFixed(1)} % as the file says\n`)
  for (const [by, calls] of result.servedBy) process.stdout.write(`  ${calls} answered by ${by}\n`)
}

/** `…/v1` becomes `…/tasks/X/v1`. */
function taskUrl(baseUrl: string, task: string | undefined): string {
  if (task === undefined) return baseUrl
  if (!URL.canParse(baseUrl)) {
    throw new ShadowError('invalid_config', `"${baseUrl}" is no URL.`, {
      hint: 'Try http://127.0.0.1:8327/v1.',
    })
  }
  return new URL(`/tasks/${task}/v1`, baseUrl).href
}

function wholeNumber(flag: string, text: string): number {
  const number = Number(text)
  if (Number.isInteger(number) && number > 0) return number
  throw new ShadowError('invalid_config', `${flag} takes a whole number above 0, not "${text}".`)
}

try {
  await main()
} catch (error) {
  const hint = error instanceof ShadowError && error.hint !== undefined ? ` ${error.hint}` : ''
  process.stderr.write(`The replay stopped: ${messageOf(error)}${hint}\n`)
  process.exitCode = 1
}
