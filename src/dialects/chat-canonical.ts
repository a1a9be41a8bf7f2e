/**
 * When two chat-completions messages are the same one. Agents echo what they were given with ids of their
 * own, null fields added, text wrapped in parts and arguments printed anew; none of that makes another
 * conversation. What a value inside tool arguments is, does.
 */
import { canonicalJson, canonicalJsonText, parseExactly } from '../lib/canonical-json.ts'
import { textOfBytes } from '../lib/json-slices.ts'
import type { CanonicalMessage, CanonicalWalk } from './dialect.ts'
import { emptyFields, type Fields, isFields } from './json-fields.ts'

/** What clients neither have to echo nor mean anything by. */
const outsideIdentity = new Set([
  'cache_control',
  'annotations',
  'citations',
  'reasoning',
  'reasoning_content',
  'reasoning_details',
  'thinking',
  'thinking_blocks',
])

/** Fields for which null, '' (or an empty list) and absent are equal. */
const absentWhenEmpty = new Set(['content', 'refusal', 'name', 'tool_calls', 'function_call', 'audio'])

/** All that an assistant's turn is known by: servers add fields of their own, which clients don't echo. */
const assistantFields = new Set(['content', 'refusal', 'name', 'tool_calls', 'function_call', 'audio'])

export function canonicalChatTools(tools: Uint8Array | null): string {
  return canonicalTools(tools === null ? [] : parseExactly(textOfBytes(tools)))
}

/** @param value a list of tools as chat completions declare them; null is an empty one */
export function canonicalTools(value: unknown): string {
  return canonicalJson(Array.isArray(value) ? value.map(withoutAnnotations) : (value ?? []))
}

export function chatWalk(): CanonicalWalk {
  return new ChatWalk()
}

export class ChatWalk implements CanonicalWalk {
  private inRoot: boolean
  private callCount: number
  /** The order, in the conversation, of the tool call that an id was last given to. */
  private readonly orderOf: Map<string, number>

  constructor(inRoot = true, callCount = 0, orderOf = new Map<string, number>()) {
    this.inRoot = inRoot
    this.callCount = callCount
    this.orderOf = orderOf
  }

  fork(): ChatWalk {
    return new ChatWalk(this.inRoot, this.callCount, new Map(this.orderOf))
  }

  message(bytes: Uint8Array): CanonicalMessage {
    return this.value(parseExactly(textOfBytes(bytes)))
  }

  /** A message as chat completions have it, parsed. */
  value(value: unknown): CanonicalMessage {
    if (!isFields(value)) {
      this.inRoot = false
      return { text: canonicalJson(value), isRoot: false, isReply: false }
    }
    const role = value['role'] === 'developer' ? 'system' : value['role']
    this.inRoot &&= role === 'system'
    const text = plainText(value, role) ?? canonicalJson(this.fieldsOf(value, role))
    return { text, isRoot: this.inRoot, isReply: role === 'assistant' }
  }

  private fieldsOf(message: Fields, role: unknown): Fields {
    const fields = emptyFields()
    for (const [name, value] of Object.entries(message)) {
      if (outsideIdentity.has(name)) continue
      if (role === 'assistant' && !assistantFields.has(name)) continue
      const canonical = this.fieldOf(name, value)
      if (absentWhenEmpty.has(name) && isEmpty(canonical)) continue
      fields[name] = canonical
    }
    fields['role'] = role
    return fields
  }

  private fieldOf(name: string, value: unknown): unknown {
    if (name === 'content') return canonicalContent(value)
    if (name === 'tool_calls' && Array.isArray(value)) return value.map((call) => this.toolCall(call))
    if (name === 'function_call' && isFields(value)) {
      return { ...value, arguments: canonicalArguments(value['arguments']) }
    }
    // A reply's audio comes with its data; an echo names it.
    if (name === 'audio' && isFields(value) && 'id' in value) return { id: value['id'] }
    if (name === 'tool_call_id' && typeof value === 'string') return this.orderOf.get(value) ?? { id: value }
    return value
  }

  private toolCall(call: unknown): unknown {
    const order = this.callCount++
    if (!isFields(call)) return call
    if (typeof call['id'] === 'string') this.orderOf.set(call['id'], order)
    const made = isFields(call['function']) ? call['function'] : null
    if (made === null) {
      const { id: _, index: __, ...rest } = call
      return rest
    }
    return { name: made['name'], arguments: canonicalArguments(made['arguments']) }
  }
}

/** The canonical JSON of what most messages are, a role and a text; null for all others. */
function plainText(message: Fields, role: unknown): string | null {
  const { content } = message
  if (typeof content !== 'string' || content === '' || typeof role !== 'string') return null
  for (const name in message) if (name !== 'role' && name !== 'content') return null
  return `{"content":${JSON.stringify(content)},"role":${JSON.stringify(role)}}`
}

/** Text stays text where it is no JSON, and is told apart from JSON that says the same. */
function canonicalArguments(value: unknown): Fields {
  if (value === undefined || value === null || value === '') return { text: '' }
  if (typeof value !== 'string') return { json: canonicalJson(value) }
  try {
    return { json: canonicalJsonText(value) }
  } catch {
    return { text: value }
  }
}

/** A text where there is only text; else parts, with adjacent texts joined. */
function canonicalContent(content: unknown): unknown {
  if (!Array.isArray(content)) return content
  const parts: unknown[] = []
  let text: string | null = null
  for (const each of content) {
    const part = withoutAnnotations(each)
    if (isFields(part) && part['type'] === 'text' && typeof part['text'] === 'string' && hasOnly(part, 2)) {
      text = (text ?? '') + part['text']
      continue
    }
    if (text !== null && text !== '') parts.push(text)
    text = null
    parts.push(part)
  }
  if (parts.length === 0) return text
  if (text !== null && text !== '') parts.push(text)
  return parts
}

function withoutAnnotations(value: unknown): unknown {
  if (!isFields(value)) return value
  return Object.fromEntries(Object.entries(value).filter(([name]) => !outsideIdentity.has(name)))
}

function hasOnly(fields: Fields, count: number): boolean {
  return Object.keys(fields).length === count
}

function isEmpty(value: unknown): boolean {
  return value === null || value === undefined || value === '' || (Array.isArray(value) && value.length === 0)
}
