/** Sends the prompts of a file of chats to an OpenAI-compatible endpoint, in order. */
import type OpenAI from 'openai'
import PQueue from 'p-queue'
import { z } from 'zod'
import { textOf } from '../../src/contract/index.ts'
import type { Chat } from './chats.ts'

export interface ReplayOptions {
  readonly client: OpenAI
  readonly model: string
  /** Requests under way at once; 1 keeps even neighbours in order. */
  readonly concurrency: number
  /** Begins every session's id, so that replaying a file again makes new sessions. */
  readonly sessionPrefix: string
  readonly onAnswer?: (done: number) => void
}

export interface ReplayResult {
  readonly calls: number
  /** Answers equal to the gold answer, outer white space aside. */
  readonly exact: number
  /** Calls by what `x-shadow-served-by` said; `-` where nobody stands between. */
  readonly servedBy: ReadonlyMap<string, number>
}

const completion = z.looseObject({
  choices: z.array(z.looseObject({ message: z.looseObject({ content: z.string().nullish() }) })).min(1),
})

/** Each chat is a session of its own. @throws what the client throws, at the first failure */
export async function replay(chats: readonly Chat[], options: ReplayOptions): Promise<ReplayResult> {
  const servedBy = new Map<string, number>()
  let calls = 0
  let exact = 0
  for (const part of partsOf(chats)) {
    const queue = new PQueue({ concurrency: options.concurrency })
    const stop = new AbortController()
    await Promise.all(
      part.map((chat) =>
        queue.add(async () => {
          stop.signal.throwIfAborted()
          try {
            const { answer, by } = await ask(chat, options)
            calls++
            if (answer.trim() === chat.gold.trim()) exact++
            servedBy.set(by, (servedBy.get(by) ?? 0) + 1)
            options.onAnswer?.(calls)
          } catch (error) {
            stop.abort(error)
            throw error
          }
        }),
      ),
    )
  }
  return { calls, exact, servedBy }
}

/** Runs of chats of one part: what is newest must not overtake what is older. */
function partsOf(chats: readonly Chat[]): Chat[][] {
  const parts: Chat[][] = []
  for (const chat of chats) {
    const last = parts.at(-1)
    if (last?.[0]?.part === chat.part) last?.push(chat)
    else parts.push([chat])
  }
  return parts
}

async function ask(
  { prompt, line }: Chat,
  { client, model, sessionPrefix }: ReplayOptions,
): Promise<{ answer: string; by: string }> {
  // The client's types are narrower than what a file may hold, so the body goes as it is.
  const response = await client
    .post('/chat/completions', {
      body: { model, messages: prompt },
      headers: { 'x-session-id': `${sessionPrefix}-${line}` },
    })
    .asResponse()
  const { choices } = completion.parse(await response.json())
  const content = choices[0]?.message.content ?? null
  return { answer: textOf({ content }), by: response.headers.get('x-shadow-served-by') ?? '-' }
}
