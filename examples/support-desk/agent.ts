/**
 * The example agent: a support desk that is nothing but the official `openai` client and the environment
 * variables it reads (`OPENAI_BASE_URL`, `OPENAI_API_KEY`). It plays customers' sessions and reports each
 * answer as a line of JSON.
 *
 * `node examples/support-desk/agent.ts --split train --sessions 0..320 --seed 1`
 */
import { parseArgs } from 'node:util'
import OpenAI from 'openai'
import PQueue from 'p-queue'
import { conversationKey } from './faults.ts'
import { guide, shortInstruction } from './instructions.ts'
import { hashUnit } from './random.ts'
import { type Session, writeSessions } from './sessions.ts'
import { type Split, splits } from './wordings/wording.ts'

export interface AgentMessage {
  readonly role: 'system' | 'user' | 'assistant'
  readonly content: string
}

/** One answered request. */
export interface AgentReport {
  readonly session: string
  readonly turn: number
  /** 0, or 1 for the identical request sent again. */
  readonly attempt: number
  readonly streamed: boolean
  readonly messages: readonly AgentMessage[]
  readonly answer: string
  /** The rule book's answer. */
  readonly right: string
  /** `x-shadow-served-by` of the reply; null where nobody stands between. */
  readonly servedBy: string | null
  readonly tookMs: number
}

export interface AgentOptions {
  readonly client: OpenAI
  readonly model: string
  readonly instruction: string
  readonly seed: number
  readonly sessions: readonly Session[]
  readonly concurrency: number
  readonly report: (report: AgentReport) => void
}

const resendShare = 1 / 3
const streamShare = 1 / 2

/** Plays every session; sessions start in order, several at a time. @throws what the client throws */
export async function playSessions(options: AgentOptions): Promise<void> {
  const queue = new PQueue({ concurrency: options.concurrency })
  const stop = new AbortController()
  await Promise.all(
    options.sessions.map((session) =>
      queue.add(async () => {
        stop.signal.throwIfAborted()
        try {
          await playSession(session, options)
        } catch (error) {
          stop.abort(error)
          throw error
        }
      }),
    ),
  )
}

async function playSession(session: Session, options: AgentOptions): Promise<void> {
  const { seed, report } = options
  const messages: AgentMessage[] = [{ role: 'system', content: options.instruction }]
  for (const [turn, { user, answer: right }] of session.turns.entries()) {
    messages.push({ role: 'user', content: user })
    const key = conversationKey(messages.map(({ role, content }) => ({ role, text: content })))
    const streamed = hashUnit(seed, 'stream', key) < streamShare
    // A customer's page was loaded again, a worker retried: the same request comes twice, and the last answer counts.
    const attempts = hashUnit(seed, 'resend', key) < resendShare ? 2 : 1
    let answer = ''
    for (let attempt = 0; attempt < attempts; attempt++) {
      const begun = performance.now()
      const reply = await ask(options, messages, streamed)
      answer = reply.answer
      const tookMs = Math.round(performance.now() - begun)
      const { servedBy } = reply
      report({
        session: session.id,
        turn,
        attempt,
        streamed,
        messages: [...messages],
        answer,
        right,
        servedBy,
        tookMs,
      })
    }
    messages.push({ role: 'assistant', content: answer })
  }
}

async function ask(
  { client, model }: AgentOptions,
  messages: readonly AgentMessage[],
  streamed: boolean,
): Promise<{ answer: string; servedBy: string | null }> {
  const request = { model, messages: [...messages] }
  if (!streamed) {
    const { data, response } = await client.chat.completions.create(request).withResponse()
    return { answer: data.choices[0]?.message.content ?? '', servedBy: servedBy(response) }
  }
  const { data, response } = await client.chat.completions.create({ ...request, stream: true }).withResponse()
  let answer = ''
  for await (const chunk of data) answer += chunk.choices[0]?.delta.content ?? ''
  return { answer, servedBy: servedBy(response) }
}

function servedBy(response: Response): string | null {
  return response.headers.get('x-shadow-served-by')
}

/** `a..b`: from a up to, but not including, b. @throws RangeError for anything else */
export function parseRange(text: string): { from: number; to: number } {
  const match = /^(\d+)\.\.(\d+)$/.exec(text)
  const from = Number(match?.[1])
  const to = Number(match?.[2])
  if (!(from < to)) throw new RangeError(`"${text}" is no range; write 0..320`)
  return { from, to }
}

function parseSplit(text: string): Split {
  const split = splits.find((known) => known === text)
  if (split === undefined) throw new RangeError(`"${text}" is none of ${splits.join(', ')}`)
  return split
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      split: { type: 'string', default: 'train' },
      sessions: { type: 'string', default: '0..10' },
      seed: { type: 'string', default: '1' },
      concurrency: { type: 'string', default: '8' },
      /** Tells a real model what the action lines are. */
      guide: { type: 'boolean', default: false },
    },
  })
  const { from, to } = parseRange(values.sessions)
  const seed = Number(values.seed)
  try {
    await playSessions({
      client: new OpenAI(),
      model: process.env['OPENAI_MODEL'] ?? 'gpt-4.1-mini',
      instruction: values.guide ? guide() : shortInstruction,
      seed,
      sessions: writeSessions({ seed, split: parseSplit(values.split), count: to }).slice(from),
      concurrency: Number(values.concurrency),
      report: (line) => process.stdout.write(`${JSON.stringify(line)}\n`),
    })
  } catch (error) {
    process.stderr.write(`The agent stopped: ${error instanceof Error ? error.message : String(error)}\n`)
    process.exitCode = 1
  }
}
