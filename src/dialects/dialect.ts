/**
 * A dialect is one wire format of conversations: how its requests and replies come apart into messages and
 * the rest, and what of them makes two conversations the same one.
 *
 * To add one: write `<name>.ts` beside this file with an object of type `Dialect`, and add it to the list
 * in `index.ts`. Proxy, store and everything behind them know dialects by this interface only.
 */
import type { ChatMessage, ToolDefinition, Usage } from '../contract/index.ts'
import type { Slice } from '../lib/json-slices.ts'

/** A request's body, taken apart without copying: slices into its bytes. */
export interface SplitRequest {
  /**
   * In the order of the conversation, which need not be that of the body. Each is an element of a list, several
   * that lie side by side, or a member with its name; none overlaps another.
   */
  readonly messages: readonly Slice[]
  /** The value of the field that declares tools; null where the body has none. */
  readonly tools: Slice | null
  /** Other values of top-level fields, in their order. */
  readonly others: readonly Slice[]
  /** The value of the field that names the model; null where the body has none. */
  readonly model: Slice | null
  readonly modelName: string
  readonly stream: boolean
  /** The reply whose conversation the upstream keeps and goes on from; null where the body holds it all. */
  readonly previousReply: string | null
  /** The conversation that the upstream keeps and this request adds to, by its name; null where there is none. */
  readonly conversation: string | null
  /** What the body itself calls the run that it belongs to; null where it doesn't. */
  readonly session: string | null
  /** The text of the leading instructions, for rules that recognise a task. */
  systemText(): string
}

/** One message in canonical form. */
export interface CanonicalMessage {
  /**
   * Equal for messages that mean the same at this place of a conversation. One line of canonical JSON for each
   * message that chat completions would make of it.
   */
  readonly text: string
  /** Whether it belongs to the conversation's root, with the tools. */
  readonly isRoot: boolean
  /** Whether a model said it. */
  readonly isReply: boolean
}

/** Walks one conversation from its start; a message's form may depend on those before it. */
export interface CanonicalWalk {
  message(bytes: Uint8Array): CanonicalMessage
  /** A walk from here on, for one of several replies. */
  fork(): CanonicalWalk
}

/** A reply's body, taken apart: slices into its bytes. */
export interface SplitReply {
  /** By what a later request may name it (`previousReply`); null where none can. */
  readonly id: string | null
  readonly choices: readonly {
    readonly index: number
    readonly message: Slice
    readonly finishReason: string | null
  }[]
  readonly usage: Usage | null
  readonly model: string | null
  /** Whether it only says that a reply is being made, to be fetched later. */
  readonly isPending?: boolean
}

/** Puts a streamed reply together on the side. */
export interface StreamAssembler {
  /** Takes the next piece of the decoded body; pieces may end anywhere. */
  push(chunk: Uint8Array): void
  /** Texts of which the terminal event, as any known server writes it, holds at least one. */
  readonly terminalMarks: readonly string[]
  /** Whether the event has come after which a client regards the reply as done. */
  readonly terminated: boolean
  /** Whether every choice has said why it ended, whether or not the terminal event came. */
  readonly finished: boolean
  /** What the stream said of a failure of its own. */
  readonly error: string | null
  /** The reply as the body that the same dialect sends when not streaming; null when nothing came. */
  reply(): Uint8Array | null
}

export interface Dialect {
  /** Kept with every call. */
  readonly name: string
  /** @param path below the base URL, without its query (`/chat/completions`) */
  recognises(method: string, path: string): boolean
  /** @throws ShadowError invalid_request when the body is malformed or holds no messages */
  splitRequest(body: Uint8Array): SplitRequest
  /** The tools in canonical form; equal for null, an empty list and none. */
  canonicalTools(tools: Uint8Array | null): string
  walk(): CanonicalWalk
  /** Null when the body is no reply of this dialect. */
  splitReply(body: Uint8Array): SplitReply | null
  assembler(): StreamAssembler
  /** A stored message in the contract's form, where it may be several; anything that an upstream accepted has one. */
  readMessages(bytes: Uint8Array): ChatMessage[]
  readTools(bytes: Uint8Array): ToolDefinition[]
}
