/**
 * Token counts that an agent didn't ask for: where its task opts in, the upstream is asked to end a stream with
 * them (`stream_options.include_usage`), they go on record, and the agent sees the stream that it asked for.
 */
import type { Dialect, SplitRequest } from '../src/dialects/index.ts'
import { memberNamed, parseSlice, type Slice, scanJsonObject, textOfBytes } from '../src/lib/json-slices.ts'
import type { TaskRules } from './task-of.ts'

const dialectsWithOption = new Set(['chat', 'completions'])

export interface UsageQuestion {
  readonly task: string
  readonly dialect: Pick<Dialect, 'name'>
  readonly split: Pick<SplitRequest, 'stream'>
  readonly body: Uint8Array
}

/** The body that asks for counts too; null where the task doesn't want them, or the agent has asked itself. */
export function bodyAskingUsage(
  tasks: TaskRules,
  { task, dialect, split, body }: UsageQuestion,
): Uint8Array | null {
  if (!split.stream || !dialectsWithOption.has(dialect.name)) return null
  if (tasks.asksUsage?.(task) !== true) return null
  const wanted = '"include_usage":true'
  const options = memberNamed(scanJsonObject(body), 'stream_options')?.value
  if (options === undefined) return inserted(body, body.indexOf(0x7b) + 1, `"stream_options":{${wanted}},`)
  if (textOfBytes(body, options) === 'null') return replaced(body, options, `{${wanted}}`)
  if (body[options.start] !== 0x7b) return null
  const members = scanJsonObject(body, options)
  const asked = memberNamed(members, 'include_usage')?.value
  if (asked === undefined) return inserted(body, options.start + 1, wanted + (members.length > 0 ? ',' : ''))
  return textOfBytes(body, asked) === 'true' ? null : replaced(body, asked, 'true')
}

function inserted(body: Uint8Array, at: number, text: string): Uint8Array {
  return replaced(body, { start: at, end: at }, text)
}

function replaced(body: Uint8Array, { start, end }: Slice, text: string): Uint8Array {
  return Buffer.concat([body.subarray(0, start), Buffer.from(text), body.subarray(end)])
}

const lineFeed = 0x0a
const carriageReturn = 0x0d

/** Takes the counts out of a stream of events again; all else passes byte for byte. */
export class UsageFilter {
  private held: Uint8Array[] = []
  private isLineEmpty = true
  private wasReturn = false
  /** Whether a line feed that comes next belongs to the last event, which was taken out. */
  private dropsLineFeed = false

  /** The bytes that may go on: whole events, once they have come. */
  push(chunk: Uint8Array): Uint8Array {
    const pieces: Uint8Array[] = []
    let start = 0
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at]
      const isSecondHalf = byte === lineFeed && this.wasReturn
      this.wasReturn = byte === carriageReturn
      if (isSecondHalf) {
        // What a return has ended is gone already; its line feed goes the same way.
        if (at === start && this.held.length === 0) {
          if (!this.dropsLineFeed) pieces.push(chunk.subarray(at, at + 1))
          start = at + 1
        }
        continue
      }
      const isLineEnd = byte === lineFeed || byte === carriageReturn
      const endsEvent = isLineEnd && this.isLineEmpty
      this.isLineEmpty = isLineEnd
      if (!endsEvent) continue
      const event = Buffer.concat([...this.held, chunk.subarray(start, at + 1)])
      const kept = withoutUsage(event)
      this.dropsLineFeed = kept.length === 0
      pieces.push(kept)
      this.held = []
      start = at + 1
    }
    if (start < chunk.length) this.held.push(chunk.subarray(start))
    return pieces.length === 1 ? (pieces[0] ?? chunk) : Buffer.concat(pieces)
  }

  /** What is left when the stream has ended. */
  rest(): Uint8Array {
    const { held } = this
    this.held = []
    return withoutUsage(Buffer.concat(held))
  }
}

function withoutUsage(event: Buffer): Uint8Array {
  if (!event.includes('"usage"')) return event
  const json = dataOf(event)
  let members: ReturnType<typeof scanJsonObject>
  try {
    members = scanJsonObject(json)
  } catch {
    return event
  }
  const usage = memberNamed(members, 'usage')
  if (usage === undefined) return event
  if (parseSlice(json, usage.value) === null) {
    const [from, to] = withComma(json, usage.nameStart, usage.value.end)
    return Buffer.concat([event.subarray(0, from), event.subarray(to)])
  }
  // The event that exists for the counts alone.
  return memberNamed(members, 'choices')?.elements?.length === 0 ? Buffer.alloc(0) : event
}

/** An event's data where it stands, with blanks in the place of field names and line ends, which JSON skips. */
function dataOf(event: Buffer): Buffer {
  const text = event.toString('latin1')
  const data = text.replace(/([^\r\n]*)([\r\n]*)/g, (_line, line: string, ends: string) => {
    const name = /^(?:\xef\xbb\xbf)?data:/.exec(line)?.[0] ?? line
    return ' '.repeat(name.length) + line.slice(name.length) + ' '.repeat(ends.length)
  })
  return Buffer.from(data, 'latin1')
}

/** The member's range with the comma that it needs no more. */
function withComma(json: Buffer, nameStart: number, valueEnd: number): [number, number] {
  const before = /,\s*$/.exec(json.toString('latin1', 0, nameStart))
  if (before !== null) return [before.index, valueEnd]
  const after = /^\s*,\s*/.exec(json.toString('latin1', valueEnd))
  return [nameStart, valueEnd + (after?.[0].length ?? 0)]
}
