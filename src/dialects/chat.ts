/** OpenAI's chat completions, as every compatible server speaks them. */
import { z } from 'zod'
import { usage } from '../contract/index.ts'
import { ShadowError } from '../lib/error.ts'
import { memberNamed, parseSlice, type Slice, scanJsonObject } from '../lib/json-slices.ts'
import { canonicalChatTools, chatWalk } from './chat-canonical.ts'
import { readChatMessage, readChatTools } from './chat-read.ts'
import { ChatStreamAssembler } from './chat-stream.ts'
import type { Dialect, SplitReply, SplitRequest } from './dialect.ts'
import { headOf, othersOf, sessionOfMetadata, valueOf } from './json-fields.ts'

const instruction = z.object({
  role: z.enum(['system', 'developer']),
  content: z.union([z.string(), z.array(z.looseObject({ text: z.string().optional() }))]),
})

export const chat: Dialect = {
  name: 'chat',

  recognises(method, path) {
    return method === 'POST' && path === '/chat/completions'
  },

  splitRequest(body) {
    const members = scanJsonObject(body)
    const messages = memberNamed(members, 'messages')
    const slices = messages?.elements ?? []
    if (messages === undefined || slices.length === 0) {
      throw new ShadowError(
        'invalid_request',
        '"messages" is missing, or is no list with at least one message.',
        {
          hint: 'Send the conversation as a list of objects in "messages".',
        },
      )
    }
    const tools = memberNamed(members, 'tools')
    return {
      messages: slices,
      tools: tools?.value ?? null,
      others: othersOf(members, messages, tools),
      ...headOf(body, members),
      previousReply: null,
      conversation: null,
      session: sessionOfMetadata(body, memberNamed(members, 'metadata')),
      systemText: () => leadingInstructions(body, slices),
    } satisfies SplitRequest
  },

  canonicalTools: canonicalChatTools,
  walk: chatWalk,

  splitReply(body) {
    try {
      return splitReply(body)
    } catch {
      return null
    }
  },

  assembler: () => new ChatStreamAssembler(),
  readMessages: (bytes) => [readChatMessage(parseSlice(bytes))],
  readTools: readChatTools,
}

function splitReply(body: Uint8Array): SplitReply | null {
  const members = scanJsonObject(body)
  const choices = memberNamed(members, 'choices')?.elements
  if (choices === undefined || choices === null) return null
  const used = usage.safeParse(valueOf(body, memberNamed(members, 'usage')))
  const model = valueOf(body, memberNamed(members, 'model'))
  return {
    id: null,
    choices: choices.flatMap((choice, place) => {
      const fields = scanJsonObject(body, choice)
      const message = memberNamed(fields, 'message')
      if (message === undefined || body[message.value.start] !== 0x7b) return []
      const index = valueOf(body, memberNamed(fields, 'index'))
      const reason = valueOf(body, memberNamed(fields, 'finish_reason'))
      return {
        index: Number.isSafeInteger(index) ? Number(index) : place,
        message: message.value,
        finishReason: typeof reason === 'string' ? reason : null,
      }
    }),
    usage: used.success ? used.data : null,
    model: typeof model === 'string' ? model : null,
  }
}

function leadingInstructions(body: Uint8Array, messages: readonly Slice[]): string {
  const texts: string[] = []
  for (const slice of messages) {
    const { data } = instruction.safeParse(parseSlice(body, slice))
    if (data === undefined) break
    const { content } = data
    texts.push(typeof content === 'string' ? content : content.map((part) => part.text ?? '').join(''))
  }
  return texts.join('\n')
}
