/**
 * How the sessions of late went on, in memory: agents that rewrite their history (old outputs elided, early turns
 * summarised) send prompts that no longer begin as any before them, but still hold what was said last.
 */
import type { Prompt, PromptMessage } from './prompt.ts'
import type { CallRecord } from './record.ts'

/** Sessions remembered, the least recently used forgotten first. */
const sessionsAtMost = 5000

/** Calls remembered of each. */
const callsAtMost = 64

/** Characters from which a reply that stands inside a user's message is no coincidence. */
const summaryChars = 64

/** Characters beyond which a reply is not kept to be looked for. */
const summaryCharsAtMost = 65_536

interface Said {
  readonly call: string
  readonly agent: string | null
  /** Canonical texts of the replies: what they say, wherever they stand. */
  readonly texts: readonly string[]
}

interface Tail {
  readonly said: Said[]
  /** The content of the last reply as canonical JSON has it, without its quotes. */
  lastContent: string | null
}

export class SessionTails {
  /** Keyed texts, so that a long reply costs no more than a short one. */
  private readonly nameOf: (text: string) => string
  private readonly tails = new Map<string, Tail>()

  constructor(nameOf: (text: string) => string) {
    this.nameOf = nameOf
  }

  add({ id, placement, reply }: CallRecord): void {
    const messages = reply?.choices.map(({ message }) => message) ?? []
    if (messages.length === 0) return
    const tail = this.tails.get(placement.session) ?? { said: [], lastContent: null }
    this.tails.delete(placement.session)
    this.tails.set(placement.session, tail)
    const texts = messages.map(({ canonicalText }) => this.nameOf(canonicalText))
    tail.said.push({ call: id, agent: placement.agent ?? null, texts })
    if (tail.said.length > callsAtMost) tail.said.shift()
    tail.lastContent = contentIn(messages[0]) ?? tail.lastContent
    const oldest = this.tails.size > sessionsAtMost ? this.tails.keys().next().value : undefined
    if (oldest !== undefined) this.tails.delete(oldest)
  }

  forgetAll(): void {
    this.tails.clear()
  }

  /**
   * The call of the session whose reply a rewritten prompt goes on from; null where nothing says so.
   * @param below depth of the last reply that the prompt shares with the session as it was; 0 for none
   */
  continuedBy(session: string, { messages }: Prompt, agent: string | null, below: number): string | null {
    const tail = this.tails.get(session)
    if (tail === undefined) return null
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
