/** Files of chats: one JSON object a line, `messages` as OpenAI has them, the last assistant message the right answer. */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { z } from 'zod'
import { type ChatMessage, chatMessage, textOf } from '../../src/contract/index.ts'
import { messageOf, ShadowError } from '../../src/lib/error.ts'

export interface Chat {
  /** Line in the file, from 1. */
  readonly line: number
  /** Lines of one part are under way together; a part ends before the next begins. Null: no parts. */
  readonly part: string | null
  /** What is asked: everything before the right answer. */
  readonly prompt: readonly ChatMessage[]
  readonly gold: string
}

const chatLine = z.looseObject({ messages: z.array(chatMessage).min(2), split: z.string().optional() })

/** @throws ShadowError invalid_file naming the line */
export async function* readChats(file: string): AsyncGenerator<Chat> {
  const lines = createInterface({
    input: createReadStream(file, 'utf8'),
    crlfDelay: Number.POSITIVE_INFINITY,
  })
  let line = 0
  for await (const text of lines) {
    line++
    if (text.trim() !== '') yield parseChat(text, line, file)
  }
}

function parseChat(text: string, line: number, file: string): Chat {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw invalid(file, line, `is no JSON: ${messageOf(cause)}`, cause)
  }
  const parsed = chatLine.safeParse(value)
  if (!parsed.success) throw invalid(file, line, z.prettifyError(parsed.error), parsed.error)
  const { messages, split } = parsed.data
  const at = messages.findLastIndex(({ role }) => role === 'assistant')
  const answer = messages[at]
  if (answer === undefined || at === 0) throw invalid(file, line, 'has no assistant message after a prompt')
  return { line, part: split ?? null, prompt: messages.slice(0, at), gold: textOf(answer) }
}

function invalid(file: string, line: number, what: string, cause?: unknown): ShadowError {
  return new ShadowError('invalid_file', `${file}, line ${line} ${what}.`, {
    hint: 'Each line is {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}.',
    cause,
  })
}

/** The same for the same conversation, whatever else its messages carry. */
export function promptKey(prompt: readonly { readonly role: string; readonly text: string }[]): string {
  return JSON.stringify(prompt.map(({ role, text }) => [role, text]))
}
