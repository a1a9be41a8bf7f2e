/**
 * Dialects whose messages are known by what they would be as chat completions: then equal conversations of
 * different dialects are one.
 */
import type { ChatMessage, ToolDefinition } from '../contract/index.ts'
import { canonicalJson, parseExactly } from '../lib/canonical-json.ts'
import { textOfBytes } from '../lib/json-slices.ts'
import { canonicalTools, ChatWalk } from './chat-canonical.ts'
import { readChatMessage, readTools } from './chat-read.ts'
import type { CanonicalMessage, CanonicalWalk } from './dialect.ts'
import { type Fields, isFields, valuesOf } from './json-fields.ts'

/** The values that a message's bytes hold, as messages of chat completions; at least one. */
export type Translate = (values: readonly unknown[]) => unknown[]

/** A declared tool as chat completions declare it. */
export type TranslateTool = (tool: Fields) => Fields

export class TranslatedWalk implements CanonicalWalk {
  private readonly translate: Translate
  private readonly chat: ChatWalk

  constructor(translate: Translate, chat: ChatWalk = new ChatWalk()) {
    this.translate = translate
    this.chat = chat
  }

  fork(): CanonicalWalk {
    return new TranslatedWalk(this.translate, this.chat.fork())
  }

  message(bytes: Uint8Array): CanonicalMessage {
    const messages = this.translate(valuesOf(bytes, parseExactly)).map((value) => this.chat.value(value))
    return {
      text: messages.map(({ text }) => text).join('\n'),
      isRoot: messages.every(({ isRoot }) => isRoot),
      isReply: messages.some(({ isReply }) => isReply),
    }
  }
}

export function readTranslated(bytes: Uint8Array, translate: Translate): ChatMessage[] {
  return translate(valuesOf(bytes)).map(readChatMessage)
}

export function canonicalTranslatedTools(tools: Uint8Array | null, translate: TranslateTool): string {
  if (tools === null) return canonicalTools([])
  return canonicalTools(translatedTools(parseExactly(textOfBytes(tools)), translate))
}

export function readTranslatedTools(bytes: Uint8Array, translate: TranslateTool): ToolDefinition[] {
  return readTools(translatedTools(JSON.parse(textOfBytes(bytes)), translate))
}

function translatedTools(value: unknown, translate: TranslateTool): unknown {
  return Array.isArray(value) ? value.map((tool) => (isFields(tool) ? translate(tool) : tool)) : value
}

/** Texts as one, where there are only texts; else the parts as they are. Null where there is nothing. */
export function contentOfParts(parts: readonly unknown[]): unknown {
  if (parts.length === 0) return null
  const texts = parts.map((part) =>
    isFields(part) && part['type'] === 'text' && typeof part['text'] === 'string' ? part['text'] : null,
  )
  return texts.includes(null) ? parts : texts.join('')
}

/** An object that has no counterpart, as the one part of a message that stands for it. */
export function unknownMessage(role: string, value: unknown): Fields {
  return { role, content: [isFields(value) ? { type: 'unknown', ...value } : jsonText(value)] }
}

function jsonText(value: unknown): Fields {
  return { type: 'text', text: typeof value === 'string' ? value : canonicalJson(value) }
}
