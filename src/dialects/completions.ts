/** OpenAI's text completions: a prompt that is no conversation, and texts that go on from it. */
import type { ChatMessage } from '../contract/index.ts'
import { usage } from '../contract/index.ts'
import { ShadowError } from '../lib/error.ts'
import { memberNamed, scanJsonObject } from '../lib/json-slices.ts'
import { ChatStreamAssembler } from './chat-stream.ts'
import type { Dialect, SplitReply } from './dialect.ts'
import { headOf, isFields, othersOf, sessionOfMetadata, valueOf, wholeMember } from './json-fields.ts'
import { readTranslated, TranslatedWalk } from './translated.ts'

export const completions: Dialect = {
  name: 'completions',

  recognises(method, path) {
    return method === 'POST' && path === '/completions'
  },

  splitRequest(body) {
    const members = scanJsonObject(body)
    const prompt = memberNamed(members, 'prompt')
    if (prompt === undefined) {
      throw new ShadowError('invalid_request', '"prompt" is missing.', {
        hint: 'Send the text to go on from in "prompt".',
      })
    }
    return {
      messages: [wholeMember(prompt)],
      tools: null,
      others: othersOf(members, prompt),
      ...headOf(body, members),
      previousReply: null,
      conversation: null,
      session: sessionOfMetadata(body, memberNamed(members, 'metadata')),
      systemText: () => textOfPrompt(valueOf(body, prompt)),
    }
  },

  canonicalTools: () => '[]',
  walk: () => new TranslatedWalk(toMeaning),

  splitReply(body) {
    try {
      return splitReply(body)
    } catch {
      return null
    }
  },

  assembler: () => new ChatStreamAssembler('text_completion'),
  readMessages: (bytes): ChatMessage[] => readTranslated(bytes, toChat),
  readTools: () => [],
}

/** A prompt means something else than a user's message of the same text, so its role is one of its own. */
function toMeaning(values: readonly unknown[]): unknown[] {
  return values.map((value) => {
    if (!isFields(value)) return value
    return 'prompt' in value
      ? { role: 'prompt', prompt: value['prompt'] }
      : { role: 'assistant', content: value['text'] }
  })
}

function toChat(values: readonly unknown[]): unknown[] {
  return values.map((value) => {
    if (!isFields(value)) return value
    return 'prompt' in value
      ? { role: 'user', content: textOfPrompt(value['prompt']) }
      : { role: 'assistant', content: value['text'] }
  })
}

/** Lists of texts or token ids, which a prompt may be as well, as JSON. */
function textOfPrompt(prompt: unknown): string {
  return typeof prompt === 'string' ? prompt : JSON.stringify(prompt)
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
      const text = memberNamed(fields, 'text')
      if (text === undefined) return []
      const index = valueOf(body, memberNamed(fields, 'index'))
      const reason = valueOf(body, memberNamed(fields, 'finish_reason'))
      return {
        index: Number.isSafeInteger(index) ? Number(index) : place,
        message: wholeMember(text),
        finishReason: typeof reason === 'string' ? reason : null,
      }
    }),
    usage: used.success ? used.data : null,
    model: typeof model === 'string' ? model : null,
  }
}
