/**
 * Token counts that an agent didn't ask for: where its task opts in, the upstream is asked to end a stream with
 * them (`stream_options.include_usage`), they go on record, and the agent sees the stream that it asked for.
 */
import type { Dialect, SplitRequest } from '../src/dialects/index.ts'
import { memberNamed, parseSlice, scanJsonObject } from '../src/lib/json-slices.ts'
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
  const members = scanJsonObject(body)
  if (memberNamed(members, 'stream_options') !== undefined) return null
  const open = body.indexOf(0x7b) + 1
  return Buffer.concat([
    body.subarray(0, open),
    Buffer.from('"stream_options":{"include_usage":true},'),
    body.subarray(open),
  ])
}

/** Takes the counts out of a stream of events again; all else passes byte for byte. */
export class UsageFilter {
  private held: Buffer = Buffer.alloc(0)

  /** The bytes that may go on: whole events, once they have come. */
  push(chunk: Uint8Array): Uint8Array {
    const bytes = Buffer.concat([this.held, chunk])
    const pieces: Uint8Array[] = []
    let start = 0
    for (let end = endOfEvent(bytes, start); end !== -1; end = endOfEvent(bytes, start)) {
      pieces.push(withoutUsage(bytes.subarray(start, end)))
      start = end
    }
    this.held = bytes.subarray(start)
    return Buffer.concat(pieces)
  }

  /** What is left when the stream has ended. */
  rest(): Uint8Array {
    const { held } = this
    this.held = Buffer.alloc(0)
    return withoutUsage(held)
  }
}

/** Behind the blank line that ends an event; -1 where none has come. */
function endOfEvent(bytes: Buffer, from: number): number {
  const ends = ['\n\n', '\r\n\r\n', '\r\r'].flatMap((mark) => {
    const at = bytes.indexOf(mark, from, 'latin1')
    return at === -1 ? [] : [at + mark.length]
  })
  return ends.length === 0 ? -1 : Math.min(...ends)
}

const emptyChoices = /"choices"\s*:\s*\[\s*\]/

function withoutUsage(event: Buffer): Uint8Array {
  if (!event.includes('"usage"')) return event
  const start = event.indexOf('{')
  const end = event.lastIndexOf('}') + 1
  if (start === -1 || end <= start) return event
  const json = event.subarray(start, end)
  let member: ReturnType<typeof memberNamed>
  try {
    member = memberNamed(scanJsonObject(json), 'usage')
  } catch {
    return event
  }
  if (member === undefined) return event
  const isNull = parseSlice(json, member.value) === null
  // The event that exists for the counts alone.
  if (!isNull && emptyChoices.test(json.toString('latin1'))) return Buffer.alloc(0)
  if (!isNull) return event
  const [from, to] = withComma(json, member.nameStart, member.value.end)
  return Buffer.concat([event.subarray(0, start + from), event.subarray(start + to)])
}

/** The member's range with the comma that it needs no more. */
function withComma(json: Buffer, nameStart: number, valueEnd: number): [number, number] {
  const before = /,\s*$/.exec(json.toString('latin1', 0, nameStart))
  if (before !== null) return [before.index, valueEnd]
  const after = /^\s*,\s*/.exec(json.toString('latin1', valueEnd))
  return [nameStart, valueEnd + (after?.[0].length ?? 0)]
}
