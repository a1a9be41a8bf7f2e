/** What a chat gives. */
import type { GenerateResult } from './sample/request.ts'
import type { TemplateMessage } from './tokenizer/chat-message.ts'
import { parseToolCalls } from './tokenizer/tool-text.ts'

/** A call that a reply asks for. */
export interface ToolCall {
  /** The function's name as the model wrote it; it need not be one that was offered. */
  readonly name: string
  /** JSON text. */
  readonly arguments: string
}

/** An assistant's turn: its text, and the calls of tools that stand in it. */
export class Reply {
  readonly role = 'assistant'
  /** The text without its tool calls. */
  readonly content: string
  /** In the order of the text; empty where it calls nothing. */
  readonly toolCalls: readonly ToolCall[]
  /** The text as it was generated. */
  readonly raw: string
  /** `length`: the reply was cut at its most tokens. */
  readonly finishReason: GenerateResult['finishReason']

  constructor(raw: string, finishReason: GenerateResult['finishReason']) {
    const { content, toolCalls } = parseToolCalls(raw)
    this.content = content
    this.toolCalls = toolCalls
    this.raw = raw
    this.finishReason = finishReason
  }

  /** `content`, so that a reply can stand in a text. */
  toString(): string {
    return this.content
  }

  /** The turn for the next request, in the shape of OpenAI's messages. */
  toMessage(): TemplateMessage {
    const { role, content, toolCalls } = this
    if (toolCalls.length === 0) return { role, content }
    const calls = toolCalls.map((call) => ({ type: 'function', function: { ...call } }))
    return { role, content, tool_calls: calls }
  }
}
