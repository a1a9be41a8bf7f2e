/** Anthropic's messages. */
import { z } from 'zod'
import type { Usage } from '../contract/index.ts'
import { ShadowError } from '../lib/error.ts'
import { type JsonMember, memberNamed, scanJsonObject, textOfBytes } from '../lib/json-slices.ts'
import type { Dialect, SplitReply } from './dialect.ts'
import {
  headOf,
  isFields,
  isNull,
  othersOf,
  parsedFields,
  sessionAmong,
  valueOf,
  wholeMember,
} from './json-fields.ts'
import { messagesToChat, textOfSystem, toolToChat } from './messages-chat.ts'
import { MessagesStreamAssembler } from './messages-stream.ts'
import {
  canonicalTranslatedTools,
  readTranslated,
  readTranslatedTools,
  TranslatedWalk,
} from './translated.ts'

export const messages: Dialect = {
  name: 'messages',

  recognises(method, path) {
    return method === 'POST' && path === '/messages'
  },

  splitRequest(body) {
    const members = scanJsonObject(body)
    const list = memberNamed(members, 'messages')
    const elements = list?.elements ?? []
    if (list === undefined || elements.length === 0) {
      throw new ShadowError(
        'invalid_request',
        '"messages" is missing, or is no list with at least one message.',
        { hint: 'Send the conversation as a list of objects in "messages".' },
      )
    }
    const tools = memberNamed(members, 'tools')
    const found = memberNamed(members, 'system')
    const system = found === undefined || isNull(body, found) ? undefined : found
    return {
      messages: system === undefined ? elements : [wholeMember(system), ...elements],
      tools: tools?.value ?? null,
      others: othersOf(members, list, tools, system),
      ...headOf(body, members),
      previousReply: null,
      conversation: null,
      session: sessionOf(body, memberNamed(members, 'metadata')),
      systemText: () => textOfSystem(valueOf(body, system)),
    }
  },

  canonicalTools: (tools) => canonicalTranslatedTools(tools, toolToChat),
  walk: () => new TranslatedWalk(messagesToChat),

  splitReply(body) {
    try {
      return splitReply(body)
    } catch {
      return null
    }
  },

  assembler: () => new MessagesStreamAssembler(),
  readMessages: (bytes) => readTranslated(bytes, messagesToChat),
  readTools: (bytes) => readTranslatedTools(bytes, toolToChat),
}

const reportedUsage = z.looseObject({
  input_tokens: z.number().int().nonnegative(),
  output_tokens: z.number().int().nonnegative(),
  cache_creation_input_tokens: z.number().int().nonnegative().nullish(),
  cache_read_input_tokens: z.number().int().nonnegative().nullish(),
})

/** Why a reply ended, in the words of chat completions. */
const finishReasons: Record<string, string> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  tool_use: 'tool_calls',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  refusal: 'content_filter',
}

function splitReply(body: Uint8Array): SplitReply | null {
  const members = scanJsonObject(body)
  const content = memberNamed(members, 'content')
  if (content === undefined || body[content.value.start] !== 0x5b) return null
  const reason = valueOf(body, memberNamed(members, 'stop_reason'))
  const model = valueOf(body, memberNamed(members, 'model'))
  return {
    id: null,
    choices: [
      {
        index: 0,
        message: wholeMember(content),
        finishReason: typeof reason === 'string' ? (finishReasons[reason] ?? reason) : null,
      },
    ],
    usage: usageOf(valueOf(body, memberNamed(members, 'usage'))),
    model: typeof model === 'string' ? model : null,
  }
}

/** What was read from a cache was part of the prompt. */
function usageOf(value: unknown): Usage | null {
  const { data } = reportedUsage.safeParse(value)
  if (data === undefined) return null
  const prompt =
    data.input_tokens + (data.cache_creation_input_tokens ?? 0) + (data.cache_read_input_tokens ?? 0)
  return {
    prompt_tokens: prompt,
    completion_tokens: data.output_tokens,
    total_tokens: prompt + data.output_tokens,
  }
}

/** Coding agents put their session into `metadata.user_id`: behind `_session_`, or in an object written as text. */
function sessionOf(body: Uint8Array, metadata: JsonMember | undefined): string | null {
  if (metadata === undefined || !textOfBytes(body, metadata.value).startsWith('{')) return null
  const value = valueOf(body, metadata)
  if (!isFields(value)) return null
  const { user_id: user } = value
  if (typeof user !== 'string') return sessionAmong(value)
  const inside = user.startsWith('{') ? parsedFields(user) : null
  const named = inside === null ? null : sessionAmong(inside)
  return named ?? /_session_([^\s]+)$/.exec(user)?.[1] ?? sessionAmong(value)
}
