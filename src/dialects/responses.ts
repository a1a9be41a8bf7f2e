/**
 * OpenAI's responses. What a model did in one turn is a row of items here; as a message it is all of them, side
 * by side as they came. With `previous_response_id` a request holds only what is new.
 */
import { z } from 'zod'
import type { Usage } from '../contract/index.ts'
import { ShadowError } from '../lib/error.ts'
import { memberNamed, parseSlice, type Slice, scanJsonObject } from '../lib/json-slices.ts'
import type { Dialect, SplitReply, SplitRequest } from './dialect.ts'
import { headOf, isFields, isNull, othersOf, sessionOfMetadata, valueOf, wholeMember } from './json-fields.ts'
import { isOfModel, itemsToChat, responsesToolToChat } from './responses-chat.ts'
import { ResponsesStreamAssembler } from './responses-stream.ts'
import {
  canonicalTranslatedTools,
  readTranslated,
  readTranslatedTools,
  TranslatedWalk,
} from './translated.ts'

export const responses: Dialect = {
  name: 'responses',

  recognises(method, path) {
    return method === 'POST' && path === '/responses'
  },

  splitRequest,
  canonicalTools: (tools) => canonicalTranslatedTools(tools, responsesToolToChat),
  walk: () => new TranslatedWalk(itemsToChat),

  splitReply(body) {
    try {
      return splitReply(body)
    } catch {
      return null
    }
  },

  assembler: () => new ResponsesStreamAssembler(),
  readMessages: (bytes) => readTranslated(bytes, itemsToChat),
  readTools: (bytes) => readTranslatedTools(bytes, responsesToolToChat),
}

function splitRequest(body: Uint8Array): SplitRequest {
  const members = scanJsonObject(body)
  const input = memberNamed(members, 'input')
  const tools = memberNamed(members, 'tools')
  const found = memberNamed(members, 'instructions')
  const previous = valueOf(body, memberNamed(members, 'previous_response_id'))
  const previousReply = typeof previous === 'string' && previous !== '' ? previous : null
  const conversation = conversationOf(valueOf(body, memberNamed(members, 'conversation')))
  // A conversation that goes on has instructions at its root; those of the later request stay in its envelope.
  const instructions =
    found === undefined || isNull(body, found) || previousReply !== null ? undefined : found
  const elements = input?.elements
  const said =
    input === undefined || isNull(body, input)
      ? []
      : elements === null || elements === undefined
        ? [wholeMember(input)]
        : turnsOf(body, elements)
  const messages = instructions === undefined ? said : [wholeMember(instructions), ...said]
  // A prompt template may hold all there is.
  if (
    messages.length === 0 &&
    previousReply === null &&
    conversation === null &&
    memberNamed(members, 'prompt') === undefined
  ) {
    throw new ShadowError('invalid_request', '"input" is missing or empty.', {
      hint: 'Send a text or a list of items in "input".',
    })
  }
  return {
    messages,
    tools: tools?.value ?? null,
    others: othersOf(members, tools, instructions, said.length === 0 ? undefined : input),
    ...headOf(body, members),
    previousReply,
    conversation,
    session: conversation ?? sessionOfMetadata(body, memberNamed(members, 'metadata')),
    systemText() {
      const text = valueOf(body, found)
      return typeof text === 'string' ? text : ''
    },
  }
}

function conversationOf(value: unknown): string | null {
  if (typeof value === 'string') return value === '' ? null : value
  return isFields(value) && typeof value['id'] === 'string' ? value['id'] : null
}

/** Items of the model that lie side by side are one message; every other item is one of its own. */
function turnsOf(body: Uint8Array, elements: readonly Slice[]): Slice[] {
  const turns: Slice[] = []
  let open: { start: number; end: number } | null = null
  for (const element of elements) {
    if (!isOfModel(parseSlice(body, element))) {
      open = null
      turns.push(element)
    } else if (open === null) {
      open = { start: element.start, end: element.end }
      turns.push(open)
    } else open.end = element.end
  }
  return turns
}

const reportedUsage = z.looseObject({
  input_tokens: z.number().int().nonnegative(),
  output_tokens: z.number().int().nonnegative(),
  total_tokens: z.number().int().nonnegative(),
})

function splitReply(body: Uint8Array): SplitReply | null {
  const members = scanJsonObject(body)
  const output = memberNamed(members, 'output')
  if (output === undefined || body[output.value.start] !== 0x5b) return null
  const elements = output.elements ?? []
  const [first] = elements
  const last = elements.at(-1)
  const id = valueOf(body, memberNamed(members, 'id'))
  const model = valueOf(body, memberNamed(members, 'model'))
  const message =
    first === undefined || last === undefined ? wholeMember(output) : { start: first.start, end: last.end }
  const status = valueOf(body, memberNamed(members, 'status'))
  const details = valueOf(body, memberNamed(members, 'incomplete_details'))
  const made = elements.map((element) => parseSlice(body, element))
  return {
    id: typeof id === 'string' ? id : null,
    choices: [{ index: 0, message, finishReason: finishReasonOf(status, details, made) }],
    usage: usageOf(valueOf(body, memberNamed(members, 'usage'))),
    model: typeof model === 'string' ? model : null,
    isPending: status === 'queued' || status === 'in_progress',
  }
}

/** In the words of chat completions; a reply that isn't there yet (`background`) has its status as the reason. */
function finishReasonOf(status: unknown, details: unknown, output: readonly unknown[]): string | null {
  if (status === 'incomplete') {
    const reason = isFields(details) ? details['reason'] : null
    return reason === 'max_output_tokens' ? 'length' : typeof reason === 'string' ? reason : 'length'
  }
  if (typeof status === 'string' && status !== 'completed') return status
  const calls = output.some(
    (item) => isFields(item) && (item['type'] === 'function_call' || item['type'] === 'custom_tool_call'),
  )
  return calls ? 'tool_calls' : 'stop'
}

function usageOf(value: unknown): Usage | null {
  const { data } = reportedUsage.safeParse(value)
  if (data === undefined) return null
  return {
    prompt_tokens: data.input_tokens,
    completion_tokens: data.output_tokens,
    total_tokens: data.total_tokens,
  }
}
