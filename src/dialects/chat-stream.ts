/** A streamed chat completion, put together into the object that the same request returns unstreamed. */
import { createParser, type EventSourceParser } from 'eventsource-parser'
import type { StreamAssembler } from './dialect.ts'
import {
  damagedEvent,
  emptyFields as empty,
  errorText,
  type Fields,
  isFields,
  parsedFields,
} from './json-fields.ts'

interface Choice {
  readonly fields: Fields
  readonly message: Fields
}

/** Strings in a delta that say what something is; every other string is the next piece of a text. */
const wholeStrings = new Set(['role', 'id', 'type', 'object'])

/** The end of a stream whose last line isn't closed. */
const terminalTail = /(?:^|[\r\n])data: ?\[DONE\][\r\n]*$/

/** What an unstreamed reply calls itself; text completions have a text in the place of a message. */
export type ReplyKind = 'chat.completion' | 'text_completion'

export class ChatStreamAssembler implements StreamAssembler {
  readonly terminalMarks = ['[DONE]']
  terminated = false
  error: string | null = null
  private readonly parser: EventSourceParser
  private readonly decoder = new TextDecoder()
  private readonly head: Fields = empty()
  private readonly choices = new Map<number, Choice>()
  private readonly kind: ReplyKind
  private tail = ''

  constructor(kind: ReplyKind = 'chat.completion') {
    this.kind = kind
    this.parser = createParser({ onEvent: (event) => this.event(event.data) })
  }

  push(chunk: Uint8Array): void {
    const text = this.decoder.decode(chunk, { stream: true })
    this.parser.feed(text)
    this.tail = (this.tail + text).slice(-24)
    // Some clients look for the marker in what has come so far instead of waiting for the line's end.
    if (terminalTail.test(this.tail)) this.terminated = true
  }

  get finished(): boolean {
    if (this.choices.size === 0) return false
    return this.choices.values().every(({ fields }) => typeof fields['finish_reason'] === 'string')
  }

  reply(): Uint8Array | null {
    if (this.choices.size === 0) return null
    const choices = [...this.choices]
      .toSorted(([a], [b]) => a - b)
      .map(([index, { fields, message }]) =>
        this.kind === 'chat.completion'
          ? { ...fields, index, message: completed(message) }
          : { text: '', ...fields, index },
      )
    return Buffer.from(JSON.stringify({ ...this.head, object: this.kind, choices }))
  }

  private event(data: string): void {
    if (data.trim() === '[DONE]') {
      this.terminated = true
      return
    }
    const chunk = parsedFields(data)
    if (chunk === null) {
      if (data.trim() !== '') this.error ??= damagedEvent
      return
    }
    for (const [name, value] of Object.entries(chunk)) {
      if (name === 'error') this.error = errorText(value)
      else if (name === 'choices' && Array.isArray(value)) for (const choice of value) this.choice(choice)
      else if (value !== null) this.head[name] = value
    }
  }

  private choice(value: unknown): void {
    if (!isFields(value)) return
    const index = typeof value['index'] === 'number' ? value['index'] : 0
    let choice = this.choices.get(index)
    if (choice === undefined) {
      choice = { fields: { ...empty(), finish_reason: null }, message: empty() }
      this.choices.set(index, choice)
    }
    for (const [name, part] of Object.entries(value)) {
      if (name === 'index' || part === null) continue
      if (name === 'delta') {
        if (isFields(part)) mergeDelta(choice.message, part)
      } else if (isFields(part)) {
        // Log-probabilities: lists that grow with the tokens.
        const known = choice.fields[name]
        choice.fields[name] = isFields(known) ? mergeLists(known, part) : part
      } else if (Array.isArray(part)) {
        const known = choice.fields[name]
        choice.fields[name] = Array.isArray(known) ? [...known, ...part] : part
      } else if (name === 'text' && typeof part === 'string') {
        const known = choice.fields[name]
        choice.fields[name] = typeof known === 'string' ? known + part : part
      } else choice.fields[name] = part
    }
  }
}

function mergeDelta(into: Fields, delta: Fields): void {
  for (const [name, value] of Object.entries(delta)) {
    const known = into[name]
    if (value === null || value === undefined) {
      if (known === undefined) into[name] = null
    } else if (name === 'tool_calls' && Array.isArray(value)) {
      const calls = Array.isArray(known) ? known : []
      for (const call of value) mergeToolCall(calls, call)
      into[name] = calls
    } else if (typeof value === 'string') {
      into[name] = typeof known === 'string' && !wholeStrings.has(name) ? known + value : value
    } else if (Array.isArray(value)) {
      into[name] = Array.isArray(known) ? [...known, ...value] : value
    } else if (isFields(value)) {
      const merged = isFields(known) ? known : empty()
      mergeDelta(merged, value)
      into[name] = merged
    } else into[name] = value
  }
}

/** Deltas belong together by `index`; servers that leave it out start a new call with a new id. */
function mergeToolCall(calls: unknown[], delta: unknown): void {
  if (!isFields(delta)) return
  const { index, ...rest } = delta
  const last = calls.at(-1)
  const startsNew =
    !isFields(last) || (typeof rest['id'] === 'string' && rest['id'] !== '' && last['id'] !== rest['id'])
  const place = typeof index === 'number' ? index : startsNew ? calls.length : calls.length - 1
  // A gap would be a list full of nothing; a server that skips a number means the next one.
  const at = Math.min(place, calls.length)
  let call = calls[at]
  if (!isFields(call)) {
    call = empty()
    calls[at] = call
  }
  if (!isFields(call)) return
  const { id, function: made, ...others } = rest
  if (typeof id === 'string' && id !== '') call['id'] ??= id
  mergeDelta(call, others)
  if (isFields(made)) {
    const { name, ...parts } = made
    const known = isFields(call['function']) ? call['function'] : empty()
    // Some servers repeat the whole name in every delta.
    if (typeof name === 'string' && known['name'] !== name) {
      known['name'] = typeof known['name'] === 'string' ? known['name'] + name : name
    }
    mergeDelta(known, parts)
    call['function'] = known
  }
}

function mergeLists(known: Fields, part: Fields): Fields {
  const merged: Fields = { ...known }
  for (const [name, value] of Object.entries(part)) {
    const before = merged[name]
    if (Array.isArray(value) && Array.isArray(before)) merged[name] = [...before, ...value]
    else if (value !== null || before === undefined) merged[name] = value
  }
  return merged
}

function completed(message: Fields): Fields {
  return { role: 'assistant', content: null, ...message }
}
