/**
 * A call as a span of OpenTelemetry, in OTLP's JSON (one `TracesData` a line, as the collector's file exporter writes
 * it), with the attributes of the conventions for generative AI: https://opentelemetry.io/docs/specs/semconv/gen-ai/
 * A session is a trace; a call links to the one that it goes on from.
 */
import { createHash } from 'node:crypto'
import { type CapturedCall, type ChatMessage, textOf } from '../../contract/index.ts'

type Value =
  | { stringValue: string }
  | { intValue: string }
  | { arrayValue: { values: { stringValue: string }[] } }

interface Attribute {
  key: string
  value: Value
}

/** `Span.SpanKind` and `Status.StatusCode` of OTLP. */
const kindClient = 3
const statusOk = 1
const statusError = 2

/** Providers that the conventions name, by how Shadow's upstreams are called. */
const providers: Readonly<Record<string, string>> = {
  anthropic: 'anthropic',
  frontier: 'openai',
  openai: 'openai',
}

export function spanLine(call: CapturedCall): string {
  const { startedAt, timings, error, status } = call
  const span = {
    traceId: idOf(call.session, 32),
    spanId: idOf(call.id, 16),
    name: `chat ${call.modelAsked}`,
    kind: kindClient,
    startTimeUnixNano: nanoseconds(startedAt),
    endTimeUnixNano: nanoseconds(startedAt + timings.totalMs),
    attributes: attributesOf(call),
    ...linksOf(call),
    status: status === 'complete' ? { code: statusOk } : { code: statusError, message: error ?? status },
  }
  return JSON.stringify({
    resourceSpans: [
      {
        resource: { attributes: [text('service.name', 'shadow')] },
        scopeSpans: [{ scope: { name: 'shadow' }, spans: [span] }],
      },
    ],
  })
}

function attributesOf(call: CapturedCall): Attribute[] {
  const { usage, replies, modelAnswered, messages, tools, status } = call
  const leading = messages.findIndex(({ role }) => role !== 'system' && role !== 'developer')
  const instructions = messages.slice(0, leading === -1 ? messages.length : leading)
  const reasons = replies.flatMap(({ finishReason }) => finishReason ?? [])
  return [
    text('gen_ai.operation.name', call.dialect === 'completions' ? 'text_completion' : 'chat'),
    text('gen_ai.provider.name', providers[call.servedBy] ?? call.servedBy),
    text('gen_ai.request.model', call.modelAsked),
    text('gen_ai.conversation.id', call.label ?? call.session),
    ...(modelAnswered === null ? [] : [text('gen_ai.response.model', modelAnswered)]),
    ...(replies.length > 1 ? [int('gen_ai.request.choice.count', replies.length)] : []),
    ...(reasons.length === 0 ? [] : [list('gen_ai.response.finish_reasons', reasons)]),
    ...(usage === null
      ? []
      : [
          int('gen_ai.usage.input_tokens', usage.prompt_tokens),
          int('gen_ai.usage.output_tokens', usage.completion_tokens),
        ]),
    ...(call.agent ? [text('gen_ai.agent.id', call.agent)] : []),
    ...(instructions.length === 0 ? [] : [json('gen_ai.system_instructions', instructions.flatMap(partsOf))]),
    json('gen_ai.input.messages', messages.slice(instructions.length).map(messageOf)),
    json(
      'gen_ai.output.messages',
      replies.map(({ message, finishReason }) => ({
        ...messageOf(message),
        finish_reason: finishReason ?? 'error',
      })),
    ),
    ...(tools.length === 0 ? [] : [json('gen_ai.tool.definitions', tools)]),
    ...(status === 'complete'
      ? []
      : [text('error.type', call.httpStatus === null ? status : `${call.httpStatus}`)]),
    text('shadow.task', call.task),
    text('shadow.call.id', call.id),
    text('shadow.call.status', status),
  ]
}

function messageOf(message: ChatMessage): { role: string; parts: unknown[] } {
  return { role: message.role, parts: partsOf(message) }
}

function partsOf(message: ChatMessage): unknown[] {
  const { content, role, reasoning_content: reasoning, tool_calls: calls, tool_call_id: id } = message
  if (role === 'tool') return [{ type: 'tool_call_response', id: id ?? null, response: textOf(message) }]
  const said = Array.isArray(content)
    ? content.map(({ type, text: words, ...rest }) =>
        words === undefined ? { type, ...rest } : { type: 'text', content: words },
      )
    : content
      ? [{ type: 'text', content }]
      : []
  return [
    ...(reasoning ? [{ type: 'reasoning', content: reasoning }] : []),
    ...said,
    ...(calls ?? []).map((call) => ({
      type: 'tool_call',
      id: call.id,
      name: call.function.name,
      arguments: call.function.arguments,
    })),
  ]
}

function linksOf({ parent, continues, session }: CapturedCall): { links?: unknown[] } {
  const from = parent ?? continues ?? null
  return from === null ? {} : { links: [{ traceId: idOf(session, 32), spanId: idOf(from, 16) }] }
}

/** Ids of OTLP are bytes as hex; the same name gives the same id in every export. */
function idOf(name: string, characters: number): string {
  return createHash('sha256').update(name).digest('hex').slice(0, characters)
}

function nanoseconds(ms: number): string {
  return String(BigInt(Math.round(ms * 1000)) * 1000n)
}

function text(key: string, value: string): Attribute {
  return { key, value: { stringValue: value } }
}

function int(key: string, value: number): Attribute {
  return { key, value: { intValue: String(value) } }
}

function list(key: string, values: readonly string[]): Attribute {
  return { key, value: { arrayValue: { values: values.map((stringValue) => ({ stringValue })) } } }
}

function json(key: string, value: unknown): Attribute {
  return text(key, JSON.stringify(value))
}
