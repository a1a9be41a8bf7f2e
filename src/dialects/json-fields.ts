/** What the dialects share in taking JSON apart. */
import { type JsonMember, memberNamed, parseSlice, type Slice, textOfBytes } from '../lib/json-slices.ts'

export type Fields = Record<string, unknown>

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** With which, of all values that a scan has found valid, only `true` and `null` begin. */
const letterT = 0x74
const letterN = 0x6e

/** Without a prototype, so that no field name from outside means anything. */
export function emptyFields(): Fields {
  const fields: Fields = Object.create(null)
  return fields
}

/** The text in a field; '' where there is none. */
export function textIn(fields: Fields, name: string): string {
  const value = fields[name]
  return typeof value === 'string' ? value : ''
}

/** JSON as an object; null for anything else. */
export function parsedFields(text: string): Fields | null {
  try {
    const value: unknown = JSON.parse(text)
    return isFields(value) ? value : null
  } catch {
    return null
  }
}

/** Why a stream is no reply that anyone should learn from, though it came to its end. */
export const damagedEvent = 'An event of the stream is no JSON object.'

/** A member with its name, so that its bytes say alone what they are. */
export function wholeMember({ nameStart, value }: JsonMember): Slice {
  return { start: nameStart, end: value.end }
}

export function valueOf(body: Uint8Array, member: JsonMember | undefined): unknown {
  return member === undefined ? undefined : parseSlice(body, member.value)
}

export function isTrue(body: Uint8Array, member: JsonMember | undefined): boolean {
  return member !== undefined && body[member.value.start] === letterT
}

export function isNull(body: Uint8Array, member: JsonMember): boolean {
  return body[member.value.start] === letterN
}

/** Which model a request asks for, and whether it asks for a stream. */
export function headOf(
  body: Uint8Array,
  members: readonly JsonMember[],
): { model: Slice | null; modelName: string; stream: boolean } {
  const model = memberNamed(members, 'model')
  const name = valueOf(body, model)
  return {
    model: model?.value ?? null,
    modelName: typeof name === 'string' ? name : '',
    stream: isTrue(body, memberNamed(members, 'stream')),
  }
}

/** Values of the members that are in none of `taken`. */
export function othersOf(
  members: readonly JsonMember[],
  ...taken: readonly (JsonMember | undefined)[]
): Slice[] {
  return members.filter((member) => !taken.includes(member)).map(({ value }) => value)
}

/** Names under which clients put what they call a run into the body's `metadata`, the first that is there counts. */
const sessionNames = ['session_id', 'conversation_id', 'thread_id']

/** What the body's `metadata` calls the run; null where it says nothing. */
export function sessionOfMetadata(body: Uint8Array, metadata: JsonMember | undefined): string | null {
  const value = valueOf(body, metadata)
  return isFields(value) ? sessionAmong(value) : null
}

export function sessionAmong(fields: Fields): string | null {
  for (const name of sessionNames) {
    const value = fields[name]
    if (typeof value === 'string' && value !== '') return value
  }
  return null
}

/** A message's bytes as values: one member with its name, or objects that lie side by side. */
export function valuesOf(bytes: Uint8Array, parse: (text: string) => unknown = JSON.parse): unknown[] {
  const text = textOfBytes(bytes)
  if (text.startsWith('"')) {
    try {
      return [parse(`{${text}}`)]
    } catch {
      // A bare string in a list; below it is one.
    }
  }
  const values = parse(`[${text}]`)
  return Array.isArray(values) ? values : [values]
}

/** The text of an error as servers put it: a message, an object with one, or anything else as JSON. */
export function errorText(value: unknown): string {
  if (typeof value === 'string') return value
  if (isFields(value) && typeof value['message'] === 'string') return value['message']
  return JSON.stringify(value)
}
