/** A conversation in the terminal. */
import { createInterface } from 'node:readline/promises'
import type { Chat } from '../ops/text.ts'
import { withoutStop } from './text-options.ts'

type Output = Pick<NodeJS.WritableStream, 'write'>

/** Until an empty line, Ctrl-D, or Ctrl-C at the prompt. Ctrl-C in a reply ends the reply. */
export async function talk(
  chat: Chat,
  { stdin, stdout }: { stdin: NodeJS.ReadableStream; stdout: NodeJS.WritableStream },
): Promise<void> {
  const lines = createInterface({ input: stdin, output: stdout })
  let reply: AbortController | null = null
  lines.on('SIGINT', () => (reply === null ? lines.close() : reply.abort()))
  let closed = false
  lines.on('close', () => (closed = true))
  lines.setPrompt('> ')
  lines.prompt()
  for await (const line of lines) {
    if (line.trim() === '') break
    reply = new AbortController()
    const { signal } = reply
    await withoutStop(signal, () => say(chat, line, stdout, signal))
    reply = null
    if (signal.aborted) stdout.write('\n')
    // The input may have ended while the reply came.
    if (!closed) lines.prompt()
  }
  lines.close()
}

/** One turn: the reply as it comes, then the tools that it calls, one a line. */
export async function say(chat: Chat, question: string, stdout: Output, signal?: AbortSignal): Promise<void> {
  const { toolCalls, content } = await chat.say(question, (text) => stdout.write(text), signal)
  if (content !== '' || toolCalls.length === 0) stdout.write('\n')
  for (const call of toolCalls) stdout.write(`→ ${call.name}(${call.arguments})\n`)
}
