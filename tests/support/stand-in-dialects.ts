/** The stand-in upstream in the wire formats of three APIs: it says the same in each of them. */
import type { ServerResponse } from 'node:http'
import { z } from 'zod'
import { type Answer, replyWith } from './stand-in-upstream.ts'

const asked = z.looseObject({ stream: z.boolean().optional(), tools: z.array(z.unknown()).optional() })

interface Event {
  readonly type: string
  readonly [field: string]: unknown
}

/** Says `text`; to a first request with tools that it wants the weather of Rome. */
export function answerInAnyDialect(text: string): Answer {
  const chat = replyWith(() => text)
  return (request, res, req) => {
    const path = request.url.replace(/\?.*$/, '')
    if (path === '/v1/messages/count_tokens') {
      sendJson(res, { input_tokens: 42 })
      return
    }
    if (path !== '/v1/messages' && path !== '/v1/responses') return chat(request, res, req)
    const body = request.body.toString('utf8')
    const { stream = false, tools = [] } = asked.parse(JSON.parse(body))
    const wantsTool = tools.length > 0 && !/"tool_result"|"function_call_output"/.test(body)
    const reply = path === '/v1/messages' ? messageOf(text, wantsTool) : responseOf(text, wantsTool)
    if (!stream) sendJson(res, reply)
    else if (path === '/v1/messages') sendEvents(res, eventsOfMessage(messageOf(text, wantsTool)))
    else sendEvents(res, eventsOfResponse(responseOf(text, wantsTool)))
  }
}

function sendJson(res: ServerResponse, value: object): void {
  const bytes = Buffer.from(JSON.stringify(value))
  res.writeHead(200, { 'content-type': 'application/json', 'content-length': bytes.length })
  res.end(bytes)
}

function sendEvents(res: ServerResponse, events: readonly Event[]): void {
  res.writeHead(200, { 'content-type': 'text/event-stream' })
  for (const event of events) res.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
  res.end()
}

function messageOf(text: string, wantsTool: boolean) {
  const content = wantsTool
    ? [{ type: 'tool_use', id: 'toolu_1', name: 'weather', input: { city: 'Rome' } }]
    : [{ type: 'text', text }]
  return {
    id: 'msg_stand_in',
    type: 'message',
    role: 'assistant',
    model: 'stand-in',
    content,
    stop_reason: wantsTool ? 'tool_use' : 'end_turn',
    stop_sequence: null,
    usage: { input_tokens: 5, output_tokens: 2 },
  }
}

function eventsOfMessage(message: ReturnType<typeof messageOf>): Event[] {
  const { content, stop_reason, usage } = message
  const events: Event[] = [{ type: 'message_start', message: { ...message, content: [], stop_reason: null } }]
  for (const [index, block] of content.entries()) {
    const [empty, delta] =
      'text' in block
        ? [
            { type: 'text', text: '' },
            { type: 'text_delta', text: block.text },
          ]
        : [
            { ...block, input: {} },
            { type: 'input_json_delta', partial_json: JSON.stringify(block.input) },
          ]
    events.push(
      { type: 'content_block_start', index, content_block: empty },
      { type: 'content_block_delta', index, delta },
      { type: 'content_block_stop', index },
    )
  }
  events.push(
    { type: 'message_delta', delta: { stop_reason, stop_sequence: null }, usage },
    { type: 'message_stop' },
  )
  return events
}

function responseOf(text: string, wantsTool: boolean) {
  const output = wantsTool
    ? [
        {
          id: 'fc_1',
          type: 'function_call',
          call_id: 'call_1',
          name: 'weather',
          arguments: '{"city":"Rome"}',
          status: 'completed',
        },
      ]
    : [
        {
          id: 'msg_1',
          type: 'message',
          role: 'assistant',
          status: 'completed',
          content: [{ type: 'output_text', text, annotations: [] }],
        },
      ]
  return {
    id: 'resp_stand_in',
    object: 'response',
    created_at: 1,
    status: 'completed',
    model: 'stand-in',
    error: null,
    incomplete_details: null,
    instructions: null,
    metadata: {},
    parallel_tool_calls: true,
    temperature: 1,
    tool_choice: 'auto',
    tools: [],
    top_p: 1,
    output,
    usage: {
      input_tokens: 5,
      output_tokens: 2,
      total_tokens: 7,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens_details: { reasoning_tokens: 0 },
    },
  }
}

function eventsOfResponse(response: ReturnType<typeof responseOf>): Event[] {
  const begun = { ...response, status: 'in_progress', output: [] }
  const events: Event[] = [{ type: 'response.created', response: begun }]
  for (const [output_index, item] of response.output.entries()) {
    const place = { output_index, item_id: item.id }
    if ('arguments' in item) {
      events.push(
        { type: 'response.output_item.added', output_index, item: { ...item, arguments: '' } },
        { type: 'response.function_call_arguments.delta', ...place, delta: item.arguments },
        { type: 'response.function_call_arguments.done', ...place, arguments: item.arguments },
      )
    } else {
      const [part] = item.content
      const at = { ...place, content_index: 0 }
      events.push(
        { type: 'response.output_item.added', output_index, item: { ...item, content: [] } },
        { type: 'response.content_part.added', ...at, part: { ...part, text: '' } },
        { type: 'response.output_text.delta', ...at, delta: part?.text ?? '', logprobs: [] },
        { type: 'response.output_text.done', ...at, text: part?.text ?? '', logprobs: [] },
        { type: 'response.content_part.done', ...at, part },
      )
    }
    events.push({ type: 'response.output_item.done', output_index, item })
  }
  events.push({ type: 'response.completed', response })
  return events.map((event, sequence_number) => ({ ...event, sequence_number }))
}
