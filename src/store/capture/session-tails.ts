/**
 * How the sessions of late went on, in memory: agents that rewrite their history (old outputs elided, early turns
 * summarised) send prompts that no longer begin as any before them, but still hold what was said last.
 */
import type { PromptMessage } from './known-prefixes.ts'
import { Lately } from '../../lib/lately.ts'
import type { Prompt } from './prompt.ts'

/** Sessions remembered. */
const sessionsAtMost = 10_000

/** Calls remembered of each. */
export const callsAtMost = 64

/** Characters from which a reply that stands inside a user's message is no coincidence. */
const summaryChars = 64

/** Characters beyond which a reply is not kept to be looked for. */
const summaryCharsAtMost = 65_536

export interface Said {
  readonly call: string
  readonly agent: string | null
  /** Names of what the replies say, wherever they stand. */
  readonly texts: readonly string[]
}

/** What the tables know of how a session went on. */
export interface StoredTail {
  /** The oldest first. */
  readonly said: readonly Said[]
  /** The text of the last reply; null where it has none. */
  readonly lastText: string | null
}

interface Tail {
  said: Said[]
  /** Whether the tables were asked for what this process hasn't seen. */
  isWhole: boolean
  /** The content of the last reply as canonical JSON has it, without its quotes. */
  lastContent: string | null
}

export class SessionTails {
  /** Keyed texts, so that a long reply costs no more than a short one. */
  private readonly nameOf: (text: string) => string
  private readonly stored: (session: string) => StoredTail
  private readonly tails = new Lately<Tail>(sessionsAtMost)

  /** @param stored asked once for each session that goes on */
  constructor(nameOf: (text: string) => string, stored: (session: string) => StoredTail) {
    this.nameOf = nameOf
    this.stored = stored
  }

  /** @param first what the first of the call's replies means */
  add(session: string, said: Said, first: PromptMessage | undefined): void {
    if (said.texts.length === 0) return
    const tail = this.tail(session)
    tail.said.push(said)
    if (tail.said.length > callsAtMost) tail.said.shift()
    tail.lastContent = contentIn(first) ?? tail.lastContent
  }

  private tail(session: string): Tail {
    const known = this.tails.get(session)
    if (known !== undefined) return known
    const tail = { said: [], isWhole: false, lastContent: null }
    this.tails.set(session, tail)
    return tail
  }

  /** Adds what was said before this process began, or before it was forgotten. */
  private complete(session: string, tail: Tail): void {
    const { said, lastText } = this.stored(session)
    const known = new Set(tail.said.map(({ call }) => call))
    tail.said = [...said.filter(({ call }) => !known.has(call)), ...tail.said].slice(-callsAtMost)
    tail.lastContent ??= contentOf(lastText)
    tail.isWhole = true
  }

  forgetAll(): void {
    this.tails.clear()
  }

  /**
   * The call of the session whose reply a rewritten prompt goes on from; null where nothing says so.
   * @param below depth of the last reply that the prompt shares with the session as it was; 0 for none
   */
  continuedBy(session: string, { messages }: Prompt, agent: string | null, below: number): string | null {
    const tail = this.tail(session)
    if (!tail.isWhole) this.complete(session, tail)
    for (let depth = messages.length; depth > below; depth--) {
      const message = messages[depth - 1]
      if (message === undefined || !message.isReply) continue
      const name = this.nameOf(message.canonicalText)
      const found = tail.said.findLast((said) => said.agent === agent && said.texts.includes(name))
      if (found !== undefined) return found.call
    }
    // A whole conversation put into a summary that the model itself wrote.
    const { lastContent } = tail
    const isSummary =
      below === 0 &&
      lastContent !== null &&
      messages.some(({ isReply, canonicalText }) => !isReply && canonicalText.includes(lastContent))
    return isSummary ? (tail.said.findLast((said) => said.agent === agent)?.call ?? null) : null
  }
}

const contentField = /^\{"content":"((?:[^"\\]|\\.)*)"/

function contentIn(message: PromptMessage | undefined): string | null {
  if (message === undefined || message.canonicalText.length > summaryCharsAtMost) return null
  const content = contentField.exec(message.canonicalText)?.[1]
  return content === undefined || content.length < summaryChars ? null : content
}

/** The same of a reply's text. */
function contentOf(text: string | null): string | null {
  if (text === null || text.length > summaryCharsAtMost) return null
  const content = JSON.stringify(text).slice(1, -1)
  return content.length < summaryChars ? null : content
}
