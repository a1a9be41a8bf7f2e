/**
 * The shared shell of the stand-ins: a small OpenAI-compatible server whose answers come from a function.
 * It says that it is a stand-in wherever one looks: on its start line, in every reply's header, in
 * `/v1/models`.
 */
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { type Context, Hono } from 'hono'
import { streamSSE } from 'hono/streaming'
import { z } from 'zod'

const contentPart = z.looseObject({ type: z.string(), text: z.string().optional() })

const chatRequest = z.looseObject({
  model: z.string(),
  messages: z
    .array(
      z.looseObject({
        role: z.string(),
        content: z.union([z.string(), z.array(contentPart), z.null()]).optional(),
      }),
    )
    .min(1),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().optional() }).nullish(),
})

export interface Said {
  readonly role: string
  readonly text: string
}

export interface ChatServerOptions {
  /** Model name, as `/v1/models` and every reply give it. */
  model: string
  /** What this is, in words for a person. */
  what: string
  port: number
  /** @throws CannotAnswer where the conversation is not one that this server can answer */
  answer: (conversation: readonly Said[]) => string | Promise<string>
  /** Further routes. */
  extend?: (app: Hono) => void
}

export interface ChatServer {
  /** Base URL with its `/v1`. */
  readonly url: string
  close(): Promise<void>
}

/** The request is well formed, and still nothing can be answered. */
export class CannotAnswer extends Error {
  override readonly name = 'CannotAnswer'
}

/** @returns once it listens. @throws what node:net throws, when the port is taken */
export async function startChatServer(options: ChatServerOptions): Promise<ChatServer> {
  const app = new Hono()
  app.use(async (context, next) => {
    await next()
    context.header('x-stand-in', options.what)
  })
  app.get('/v1/models', (context) =>
    context.json({
      object: 'list',
      data: [{ id: options.model, object: 'model', created: 0, owned_by: `stand-in: ${options.what}` }],
    }),
  )
  app.post('/v1/chat/completions', (context) => complete(context, options))
  options.extend?.(app)
  app.notFound((context) => failure(context, 404, `There is no ${context.req.path} here.`, 'not_found'))
  app.onError((error, context) => failure(context, 500, error.message, 'internal'))

  const { promise, resolve, reject } = Promise.withResolvers<AddressInfo>()
  const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: options.port }, resolve)
  server.once('error', reject)
  const { port } = await promise
  return {
    url: `http://127.0.0.1:${port}/v1`,
    close: () =>
      new Promise((done, fail) => {
        server.close((error) => (error === undefined ? done() : fail(error)))
        if ('closeAllConnections' in server) server.closeAllConnections()
      }),
  }
}

/** Listens until it is told to stop, and says on standard output where, in a line that a parent can read. */
export async function runChatServer(options: ChatServerOptions): Promise<void> {
  const told = new Promise<void>((resolve) => {
    process.once('SIGTERM', () => resolve())
    process.once('SIGINT', () => resolve())
  })
  const server = await startChatServer(options)
  process.stdout.write(`${options.what} listens on ${server.url}\n`)
  await told
  await server.close()
}

async function complete(context: Context, { model, answer }: ChatServerOptions): Promise<Response> {
  const body = await context.req.json<unknown>().catch(() => undefined)
  if (body === undefined) return failure(context, 400, 'The body is not JSON.', 'invalid_json')
  const parsed = chatRequest.safeParse(body)
  if (!parsed.success) return failure(context, 400, z.prettifyError(parsed.error), 'invalid_request')
  const conversation = parsed.data.messages.map(({ role, content }) => ({ role, text: textOf(content) }))
  let text: string
  try {
    text = await answer(conversation)
  } catch (error) {
    if (error instanceof CannotAnswer) return failure(context, 400, error.message, 'invalid_request')
    throw error
  }
  const id = `chatcmpl-${crypto.randomUUID()}`
  const created = Math.floor(Date.now() / 1000)
  const usage = usageOf(conversation, text)
  if (parsed.data.stream !== true) {
    return context.json({
      id,
      object: 'chat.completion',
      created,
      model,
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: text, refusal: null },
          logprobs: null,
          finish_reason: 'stop',
        },
      ],
      usage,
    })
  }
  const wantsUsage = parsed.data.stream_options?.include_usage === true
  const chunk = (choices: unknown[], more: Record<string, unknown> = {}) =>
    JSON.stringify({ id, object: 'chat.completion.chunk', created, model, choices, ...more })
  return streamSSE(context, async (stream) => {
    const send = (delta: Record<string, string>, finish: string | null) =>
      stream.writeSSE({ data: chunk([{ index: 0, delta, logprobs: null, finish_reason: finish }]) })
    await send({ role: 'assistant', content: '' }, null)
    for (const piece of text.match(/\s*\S+|\s+$/g) ?? []) await send({ content: piece }, null)
    await send({}, 'stop')
    if (wantsUsage) await stream.writeSSE({ data: chunk([], { usage }) })
    await stream.writeSSE({ data: '[DONE]' })
  })
}

function textOf(content: z.infer<typeof chatRequest>['messages'][number]['content']): string {
  if (content === null || content === undefined) return ''
  return typeof content === 'string' ? content : content.map((part) => part.text ?? '').join('')
}

/** Words, numbers and signs counted: a stand-in has no tokenizer, and says so by being one. */
function usageOf(conversation: readonly Said[], answer: string) {
  const count = (text: string) => text.match(/\p{L}+|\p{N}|[^\s\p{L}\p{N}]/gu)?.length ?? 0
  const prompt = conversation.reduce((sum, { text }) => sum + count(text) + 4, 0)
  const completion = count(answer) + 1
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion }
}

function failure(context: Context, status: 400 | 404 | 500, message: string, code: string): Response {
  const type = status < 500 ? 'invalid_request_error' : 'server_error'
  return context.json({ error: { message, type, param: null, code } }, status)
}
