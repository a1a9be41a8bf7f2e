/** A streamed message of Anthropic's, put together into the object that the same request returns unstreamed. */
import { createParser, type EventSourceParser } from 'eventsource-parser'
import type { StreamAssembler } from './dialect.ts'
import { damagedEvent, emptyFields, errorText, type Fields, isFields, parsedFields } from './json-fields.ts'

interface Block {
  readonly fields: Fields
  /** A tool's input as the model wrote it, kept as text: parsing it would round its numbers. */
  input: string
}

/** Which field of a block a delta goes on with. */
const grownBy: Record<string, string> = {
  text_delta: 'text',
  thinking_delta: 'thinking',
  signature_delta: 'signature',
}

export class MessagesStreamAssembler implements StreamAssembler {
  readonly terminalMarks = ['message_stop']
  terminated = false
  error: string | null = null
  private readonly parser: EventSourceParser
  private readonly decoder = new TextDecoder()
  private readonly blocks = new Map<number, Block>()
  private head: Fields | null = null

  constructor() {
    this.parser = createParser({ onEvent: ({ data }) => this.event(data) })
  }

  push(chunk: Uint8Array): void {
    this.parser.feed(this.decoder.decode(chunk, { stream: true }))
  }

  get finished(): boolean {
    return typeof this.head?.['stop_reason'] === 'string'
  }

  reply(): Uint8Array | null {
    if (this.head === null) return null
    const { content: _, ...head } = this.head
    const blocks = [...this.blocks].toSorted(([a], [b]) => a - b).map(([, block]) => textOfBlock(block))
    return Buffer.from(withMember(head, 'content', `[${blocks.join(',')}]`))
  }

  private event(data: string): void {
    const event = parsedFields(data)
    if (event === null) {
      if (data.trim() !== '') this.error ??= damagedEvent
      return
    }
    const { type, index, message, delta, content_block: block, usage, ...others } = event
    if (type === 'message_start' && isFields(message)) this.head = message
    else if (type === 'content_block_start' && typeof index === 'number' && isFields(block)) {
      this.blocks.set(index, { fields: { ...emptyFields(), ...block }, input: '' })
    } else if (type === 'content_block_delta' && typeof index === 'number' && isFields(delta)) {
      const known = this.blocks.get(index)
      if (known !== undefined) grow(known, delta)
    } else if (type === 'message_delta' && this.head !== null) {
      const before = isFields(this.head['usage']) ? this.head['usage'] : {}
      // What stands beside the delta (`context_management`) is the message's own too.
      this.head = {
        ...this.head,
        ...others,
        ...(isFields(delta) ? delta : {}),
        ...(isFields(usage) ? { usage: { ...before, ...usage } } : {}),
      }
    } else if (type === 'message_stop') this.terminated = true
    else if (type === 'error') this.error = errorText(event['error'])
  }
}

function grow(block: Block, delta: Fields): void {
  const { type, partial_json: json, citation } = delta
  if (type === 'input_json_delta' && typeof json === 'string') {
    block.input += json
    return
  }
  if (type === 'citations_delta') {
    const known = block.fields['citations']
    block.fields['citations'] = Array.isArray(known) ? [...known, citation] : [citation]
    return
  }
  const name = typeof type === 'string' ? grownBy[type] : undefined
  for (const [key, value] of Object.entries(delta)) {
    if (key === 'type' || (name !== undefined && key !== name)) continue
    const known = block.fields[key]
    block.fields[key] = typeof value === 'string' && typeof known === 'string' ? known + value : value
  }
}

function textOfBlock({ fields, input }: Block): string {
  if (input === '') return JSON.stringify(fields)
  const { input: _, ...rest } = fields
  return withMember(rest, 'input', isJson(input) ? input : JSON.stringify(input))
}

/** The object as JSON with one more member, whose value is JSON already. */
function withMember(fields: Fields, name: string, json: string): string {
  const text = JSON.stringify(fields)
  const start = text === '{}' ? '{' : `${text.slice(0, -1)},`
  return `${start}${JSON.stringify(name)}:${json}}`
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
