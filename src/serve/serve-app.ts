/** The owned model behind OpenAI's chat completions, in the same wire shape, streamed and not. */
import { randomBytes } from 'node:crypto'
import { Hono } from 'hono'
import { streamSSE } from 'hono/streaming'
import { parseToolCalls } from '../engine/index.ts'
import { messageOf, ShadowError } from '../lib/error.ts'
import { type ChatRequest, readChatRequest } from './chat-request.ts'
import type { Generation, ServedModels } from './served-models.ts'

export function createServeApp(models: ServedModels): Hono {
  const app = new Hono()

  app.onError((error) => {
    const known = error instanceof ShadowError ? error : new ShadowError('engine_failed', messageOf(error))
    return Response.json(known.toOpenAI(), { status: known.httpStatus })
  })

  app.get('/v1/models', (context) =>
    context.json({
      object: 'list',
      data: models.names().map((id) => ({ id, object: 'model', created: 0, owned_by: 'shadow' })),
    }),
  )

  app.post('/v1/chat/completions', async (context) => {
    const body: unknown = await context.req.json().catch(() => null)
    const request = readChatRequest(body, (name) => models.policyOf(name))
    const head = {
      id: `chatcmpl-${randomBytes(12).toString('hex')}`,
      created: Math.floor(Date.now() / 1000),
      model: request.model,
    }
    const { signal } = context.req.raw
    if (!request.stream) {
      const answers = await generateAll(models, request, signal, () => {})
      return context.json({
        ...head,
        object: 'chat.completion',
        choices: answers.map((answer, index) => choiceOf(answer, index, request)),
        usage: totalUsage(answers),
      })
    }
    // The first token decides between an answer and an error: a status can't be taken back later.
    const begun = beginStream(models, request, signal)
    await begun.first
    return streamSSE(context, async (stream) => {
      const send = (delta: unknown): Promise<void> => stream.writeSSE({ data: JSON.stringify(delta) })
      const chunk = (index: number, delta: unknown, finishReason: string | null): unknown => ({
        ...head,
        object: 'chat.completion.chunk',
        choices: [{ index, delta, finish_reason: finishReason }],
        ...(request.includeUsage ? { usage: null } : {}),
      })
      for (let index = 0; index < request.n; index++) {
        await send(chunk(index, { role: 'assistant', content: '' }, null))
      }
      for await (const { index, text } of begun.pieces()) await send(chunk(index, { content: text }, null))
      const answers = await begun.done
      for (const [index, answer] of answers.entries()) {
        const { message, finish_reason } = choiceOf(answer, index, request)
        const calls = message.tool_calls?.map((call, position) => ({ index: position, ...call }))
        if (calls !== undefined)
          await send(chunk(index, { content: message.content, tool_calls: calls }, null))
        await send(chunk(index, {}, finish_reason))
      }
      if (request.includeUsage) {
        await send({ ...head, object: 'chat.completion.chunk', choices: [], usage: totalUsage(answers) })
      }
      await stream.writeSSE({ data: '[DONE]' })
    })
  })

  return app
}

interface Piece {
  index: number
  text: string
}

/** Text is held back where it may turn out to be a tool call. */
function beginStream(
  models: ServedModels,
  request: ChatRequest,
  signal: AbortSignal,
): { first: Promise<void>; pieces: () => AsyncGenerator<Piece>; done: Promise<Generation[]> } {
  const waiting: Piece[] = []
  let wake = Promise.withResolvers<void>()
  let ended = false
  const first = Promise.withResolvers<void>()
  const done = generateAll(models, request, signal, (piece) => {
    if (request.tools.length === 0) waiting.push(piece)
    first.resolve()
    wake.resolve()
  })
  const settle = (): void => {
    ended = true
    first.resolve()
    wake.resolve()
  }
  done.then(settle, (error: unknown) => {
    first.reject(error)
    settle()
  })
  return {
    first: first.promise,
    done,
    async *pieces() {
      for (;;) {
        yield* waiting.splice(0)
        if (ended) break
        await wake.promise
        wake = Promise.withResolvers<void>()
      }
      yield* waiting.splice(0)
    },
  }
}

async function generateAll(
  models: ServedModels,
  request: ChatRequest,
  signal: AbortSignal,
  onPiece: (piece: Piece) => void,
): Promise<Generation[]> {
  return await Promise.all(
    Array.from({ length: request.n }, (_, index) =>
      models.generate({ ...request, signal, onText: (text) => onPiece({ index, text }) }),
    ),
  )
}

function choiceOf(answer: Generation, index: number, request: ChatRequest) {
  const parsed = request.tools.length === 0 ? null : parseToolCalls(answer.text)
  const calls = parsed?.toolCalls.map((call) => ({
    id: `call_${randomBytes(12).toString('hex')}`,
    type: 'function' as const,
    function: call,
  }))
  const called = calls !== undefined && calls.length > 0
  return {
    index,
    message: {
      role: 'assistant' as const,
      content: called ? (parsed?.content === '' ? null : (parsed?.content ?? null)) : answer.text,
      refusal: null,
      ...(called ? { tool_calls: calls } : {}),
    },
    logprobs: null,
    finish_reason: called ? 'tool_calls' : answer.finishReason,
  }
}

function totalUsage(answers: readonly Generation[]): Generation['usage'] {
  const prompt = answers[0]?.usage.prompt_tokens ?? 0
  const completion = answers.reduce((sum, answer) => sum + answer.usage.completion_tokens, 0)
  return { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion }
}
