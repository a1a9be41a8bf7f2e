/**
 * A streamed response. Its last event holds the whole of it, which is kept byte for byte; of one that was cut,
 * the items that were done and what had come of the others are put together.
 */
import { createParser, type EventSourceParser } from 'eventsource-parser'
import { memberNamed, scanJsonObject, textOfBytes } from '../lib/json-slices.ts'
import type { StreamAssembler } from './dialect.ts'
import { damagedEvent, errorText, type Fields, isFields, parsedFields, textIn } from './json-fields.ts'

const terminalMarks = ['response.completed', 'response.incomplete', 'response.failed', 'response.cancelled']
const terminalTypes = new Set<unknown>(terminalMarks)

export class ResponsesStreamAssembler implements StreamAssembler {
  readonly terminalMarks = terminalMarks
  terminated = false
  error: string | null = null
  private readonly parser: EventSourceParser
  private readonly decoder = new TextDecoder()
  private readonly items = new Map<number, Fields>()
  private head: Fields | null = null
  private whole: string | null = null

  constructor() {
    this.parser = createParser({ onEvent: ({ data }) => this.event(data) })
  }

  push(chunk: Uint8Array): void {
    this.parser.feed(this.decoder.decode(chunk, { stream: true }))
  }

  get finished(): boolean {
    return this.whole !== null
  }

  reply(): Uint8Array | null {
    if (this.whole !== null) return Buffer.from(this.whole)
    if (this.head === null) return null
    const output = [...this.items].toSorted(([a], [b]) => a - b).map(([, item]) => item)
    return Buffer.from(JSON.stringify({ ...this.head, output }))
  }

  private event(data: string): void {
    const event = parsedFields(data)
    if (event === null) {
      if (data.trim() !== '') this.error ??= damagedEvent
      return
    }
    const { type, response, item, output_index: place } = event
    if (isFields(response)) {
      this.head = response
      if (terminalTypes.has(type)) {
        this.terminated = true
        this.whole = responseIn(data)
        if (type === 'response.failed') this.error = errorText(response['error'] ?? 'The response failed.')
      }
    } else if (type === 'error') this.error = errorText(event)
    else if (typeof place !== 'number') return
    else if (isFields(item)) this.items.set(place, item)
    else {
      const known = this.items.get(place)
      if (known !== undefined) grow(known, event)
    }
  }
}

/** The bytes of the response in its last event. */
function responseIn(data: string): string {
  const bytes = Buffer.from(data)
  const member = memberNamed(scanJsonObject(bytes), 'response')
  return member === undefined ? '{}' : textOfBytes(bytes, member.value)
}

/** Which field of an item itself an event goes on with. */
const grownBy = new Map([
  ['response.function_call_arguments.delta', 'arguments'],
  ['response.mcp_call_arguments.delta', 'arguments'],
  ['response.custom_tool_call_input.delta', 'input'],
  ['response.code_interpreter_call_code.delta', 'code'],
])

/** What an item's fields are while it is being made; when it is done the event brings it whole. */
function grow(item: Fields, event: Fields): void {
  const { type, delta, part } = event
  if (type === 'response.content_part.added' || type === 'response.content_part.done') {
    place(item, 'content', event['content_index'], part)
  } else if (type === 'response.reasoning_summary_part.added') {
    place(item, 'summary', event['summary_index'], part)
  } else if (typeof delta !== 'string') return
  else if (type === 'response.output_text.delta' || type === 'response.reasoning_text.delta') {
    growPart(item, 'content', event['content_index'], 'text', delta)
  } else if (type === 'response.refusal.delta') {
    growPart(item, 'content', event['content_index'], 'refusal', delta)
  } else if (type === 'response.reasoning_summary_text.delta') {
    growPart(item, 'summary', event['summary_index'], 'text', delta)
  } else if (typeof type === 'string') {
    const name = grownBy.get(type)
    if (name !== undefined) item[name] = `${textIn(item, name)}${delta}`
  }
}

function place(item: Fields, name: string, index: unknown, part: unknown): void {
  if (typeof index !== 'number' || !isFields(part)) return
  const known = item[name]
  const parts: unknown[] = Array.isArray(known) ? known : []
  parts[Math.min(index, parts.length)] = part
  item[name] = parts
}

function growPart(item: Fields, list: string, index: unknown, name: string, delta: string): void {
  const parts = item[list]
  const part: unknown = Array.isArray(parts) && typeof index === 'number' ? parts[index] : undefined
  if (isFields(part)) part[name] = `${textIn(part, name)}${delta}`
}
