/**
 * A stand-in for a judge's endpoint: an OpenAI-compatible server on a loopback port that scores answers by a rule
 * it is handed. It says what it is in its model's name and in a header. It knows of the prompt only what an
 * outside judge can know: its text.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { z } from 'zod'

/** A judge's prompt, read back from its text. */
interface ReadPrompt {
  system: string
  messages: { role: string; content: string }[]
  tools: string | null
  reference: string | null
  /** In the order shown. */
  answers: { id: string; content: string }[]
  mark: string
}

const body = z.looseObject({
  model: z.string(),
  messages: z.array(z.object({ role: z.string(), content: z.string() })).min(2),
  response_format: z.looseObject({ type: z.string() }).optional(),
  temperature: z.number().optional(),
  max_tokens: z.number().optional(),
})
type JudgeBody = z.infer<typeof body>

export interface Asked {
  body: JudgeBody
  prompt: ReadPrompt
  headers: IncomingMessage['headers']
  /** 0 for the first request of the server. */
  index: number
}

export type Answer =
  | { text: string }
  | { status: number; error: Record<string, unknown>; headers?: Record<string, string> }

export interface StandInJudge {
  baseUrl: string
  asked: Asked[]
  /** The most requests that were under way at once. */
  peak: () => number
  close(): Promise<void>
}

/** @param behave what to answer to each request */
export async function startStandInJudge(
  behave: (asked: Asked) => Answer | Promise<Answer>,
): Promise<StandInJudge> {
  const asked: Asked[] = []
  let under = 0
  let peak = 0
  const server = createServer((request, response) => {
    under += 1
    peak = Math.max(peak, under)
    void serve(request, response, asked, behave).finally(() => {
      under -= 1
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    baseUrl: `http://127.0.0.1:${address.port}/v1`,
    asked,
    peak: () => peak,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  asked: Asked[],
  behave: (asked: Asked) => Answer | Promise<Answer>,
): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of request) if (chunk instanceof Buffer) chunks.push(chunk)
  response.setHeader('x-stand-in', 'a stand-in judge, not a model')
  response.setHeader('content-type', 'application/json')
  if (request.method !== 'POST' || request.url !== '/v1/chat/completions') {
    response.writeHead(404).end(JSON.stringify({ error: { message: `no route ${request.url ?? ''}` } }))
    return
  }
  const parsed = body.parse(JSON.parse(Buffer.concat(chunks).toString('utf8')))
  const one: Asked = {
    body: parsed,
    prompt: readPrompt(parsed),
    headers: request.headers,
    index: asked.length,
  }
  asked.push(one)
  const answer = await behave(one)
  if ('status' in answer) {
    response.writeHead(answer.status, answer.headers ?? {}).end(JSON.stringify({ error: answer.error }))
    return
  }
  const reply = {
    id: `chatcmpl-${one.index}`,
    object: 'chat.completion',
    created: 0,
    model: 'stand-in-judge',
    choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: answer.text } }],
    usage: { prompt_tokens: 100, completion_tokens: 10, total_tokens: 110 },
  }
  response.end(JSON.stringify(reply))
}

/** Divides a prompt at its marks, as `judge/README.md` states its form. */
function readPrompt({ messages }: Pick<JudgeBody, 'messages'>): ReadPrompt {
  const text = messages[1]?.content ?? ''
  const mark = /^The mark of this request is: (=== [a-z2-9]+)$/m.exec(text)?.[1] ?? 'no mark'
  const read: ReadPrompt = {
    system: messages[0]?.content ?? '',
    messages: [],
    tools: null,
    reference: null,
    answers: [],
    mark,
  }
  for (const section of text.split(`\n${mark} `).slice(1)) {
    const [heading = '', ...lines] = section.split('\n')
    const content = lines.join('\n')
    const role = /^message \d+ from (\w+)$/.exec(heading)?.[1]
    const id = /^answer (\w+)$/.exec(heading)?.[1]
    if (role !== undefined) read.messages.push({ role, content })
    else if (id !== undefined) read.answers.push({ id, content })
    else if (heading === 'tools') read.tools = content
    else if (heading === 'reference answer') read.reference = content
  }
  return read
}

/** Scores keyed by id, or the one score that a single answer is asked for. */
export function scoresText(
  { prompt, body: { messages } }: Asked,
  score: (content: string) => number,
): string {
  const single = messages[1]?.content.endsWith('{"score": <number from 0 to 1>}') === true
  if (single) return JSON.stringify({ score: score(prompt.answers[0]?.content ?? '') })
  return JSON.stringify({ scores: prompt.answers.map(({ id, content }) => ({ id, score: score(content) })) })
}
