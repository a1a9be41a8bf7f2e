/**
 * One judge's endpoint: the official client at an explicit address, with what this endpoint declined so far.
 * Many servers call themselves OpenAI-compatible and differ in what they accept, so a parameter that is declined
 * is left out from then on.
 */
import OpenAI, { APIConnectionError, APIConnectionTimeoutError, APIError, APIUserAbortError } from 'openai'
import type { ChatCompletionCreateParamsNonStreaming } from 'openai/resources/chat/completions'
import type { JudgeEndpoint, Usage } from '../../src/contract/index.ts'
import { messageOf, ShadowError } from '../../src/lib/error.ts'

export interface JudgeMessage {
  role: 'system' | 'user' | 'assistant'
  content: string
}

export interface JudgeQuestion {
  messages: JudgeMessage[]
  /** JSON schema of the answer, sent where the endpoint honours it. */
  schema: { name: string; schema: Record<string, unknown> }
  maxTokens: number
}

export interface JudgeAnswer {
  text: string
  usage: Usage | null
}

export interface JudgeClient {
  readonly endpoint: JudgeEndpoint
  /** @throws ShadowError judge_failed | missing_key, or the signal's reason */
  ask(question: JudgeQuestion, signal?: AbortSignal): Promise<JudgeAnswer>
}

export interface JudgeClientOptions {
  /** Where `apiKeyEnv` is looked up. */
  env?: Record<string, string | undefined>
  /** Tries after the first, for 408, 409, 429, 5xx and broken connections, with exponential waits. Default 4. */
  maxRetries?: number
  /** For one try. Default two minutes. */
  timeoutMs?: number
}

/** What may be left out of a request, the least needed first. */
type Optional = 'json_schema' | 'json_object' | 'temperature' | 'max_tokens'

/** @throws ShadowError missing_key when the variable that `apiKeyEnv` names is not set */
export function createJudgeClient(endpoint: JudgeEndpoint, options: JudgeClientOptions = {}): JudgeClient {
  const apiKey = keyOf(endpoint, options.env ?? process.env)
  const client = new OpenAI({
    baseURL: endpoint.baseUrl,
    apiKey,
    // Else the client takes these from the environment and sends them to whoever judges.
    organization: null,
    project: null,
    adminAPIKey: null,
    defaultHeaders: {
      ...Object.fromEntries(environmentHeaders().map((name) => [name.toLowerCase(), null])),
      authorization: `Bearer ${apiKey}`,
    },
    maxRetries: options.maxRetries ?? 4,
    timeout: options.timeoutMs ?? 120_000,
    logLevel: 'off',
  })
  const declined = new Set<Optional>()

  async function ask(question: JudgeQuestion, signal?: AbortSignal): Promise<JudgeAnswer> {
    for (;;) {
      const without = new Set(declined)
      try {
        const reply = await client.chat.completions.create(bodyOf(endpoint, question, without), {
          signal: signal ?? null,
        })
        const text = reply.choices?.[0]?.message?.content
        return { text: typeof text === 'string' ? text : '', usage: usageOf(reply.usage) }
      } catch (thrown) {
        if (thrown instanceof APIUserAbortError) signal?.throwIfAborted()
        const culprit = declinedBy(thrown, without)
        if (culprit === null) throw failure(endpoint, thrown)
        declined.add(culprit)
      }
    }
  }
  return { endpoint, ask }
}

/** Names of the headers that the client would add by itself: whoever set them meant another endpoint. */
function environmentHeaders(): string[] {
  return (process.env['OPENAI_CUSTOM_HEADERS'] ?? '').split('\n').flatMap((line) => {
    const name = line.slice(0, Math.max(0, line.indexOf(':'))).trim()
    return name === '' ? [] : [name]
  })
}

function keyOf({ apiKeyEnv }: JudgeEndpoint, env: Record<string, string | undefined>): string {
  if (apiKeyEnv === null) return 'none'
  const key = env[apiKeyEnv]
  if (key !== undefined && key !== '') return key
  throw new ShadowError('missing_key', `The judge's key is missing: the variable ${apiKeyEnv} is not set.`, {
    hint: `Set ${apiKeyEnv}, or give the task's judge another apiKeyEnv.`,
  })
}

function bodyOf(
  endpoint: JudgeEndpoint,
  { messages, schema, maxTokens }: JudgeQuestion,
  without: ReadonlySet<Optional>,
): ChatCompletionCreateParamsNonStreaming {
  const format = without.has('json_schema')
    ? without.has('json_object')
      ? null
      : ({ type: 'json_object' } as const)
    : ({ type: 'json_schema', json_schema: { ...schema, strict: true } } as const)
  return {
    model: endpoint.model,
    messages,
    ...(format === null ? {} : { response_format: format }),
    ...(without.has('temperature') ? {} : { temperature: 0 }),
    ...(without.has('max_tokens') ? {} : { max_tokens: maxTokens }),
  }
}

/** The parameter to leave out next, or null where the error is about something else. */
function declinedBy(thrown: unknown, without: ReadonlySet<Optional>): Optional | null {
  if (!(thrown instanceof APIError) || ![400, 404, 415, 422, 501].includes(thrown.status ?? 0)) return null
  const about = `${thrown.param ?? ''} ${thrown.message}`
  const format = without.has('json_schema') ? 'json_object' : 'json_schema'
  if (/max_tokens/.test(about) && !without.has('max_tokens')) return 'max_tokens'
  if (/temperature/.test(about) && !without.has('temperature')) return 'temperature'
  // A server that knows nothing of formats needn't name the field it stumbled over.
  const unnamed = thrown.status !== 404 && !/context|too long|model/i.test(about)
  return !without.has(format) && (unnamed || /response_format|json_schema|json_object|schema/.test(about))
    ? format
    : null
}

function failure(endpoint: JudgeEndpoint, thrown: unknown): ShadowError {
  if (thrown instanceof ShadowError) return thrown
  const where = `The judge at ${endpoint.baseUrl}`
  if (thrown instanceof APIConnectionTimeoutError) {
    return new ShadowError('judge_failed', `${where} did not answer in time.`, {
      hint: 'Lower the judge’s concurrency, or use a faster endpoint; verdicts so far are kept.',
      cause: thrown,
    })
  }
  if (thrown instanceof APIConnectionError) {
    return new ShadowError('judge_failed', `${where} can't be reached: ${reasonOf(thrown)}.`, {
      hint: 'Start it, or correct the judge’s baseUrl; verdicts so far are kept.',
      cause: thrown,
    })
  }
  if (thrown instanceof APIError) {
    const status = thrown.status ?? 0
    const hint =
      status === 401 || status === 403
        ? 'Check the key in the variable that the judge’s apiKeyEnv names.'
        : status === 404
          ? 'Check the judge’s baseUrl (it usually ends in /v1) and model.'
          : 'Run again when the endpoint works; verdicts so far are kept.'
    return new ShadowError('judge_failed', `${where} declined: ${thrown.message}.`, { hint, cause: thrown })
  }
  return new ShadowError('judge_failed', `${where} failed: ${messageOf(thrown)}.`, { cause: thrown })
}

/** The innermost cause says what happened (`ECONNREFUSED`); the client only says that something did. */
function reasonOf(error: Error): string {
  let innermost: Error = error
  while (innermost.cause instanceof Error) innermost = innermost.cause
  return innermost.message.replace(/\.$/, '') || error.message
}

function usageOf(usage: OpenAI.CompletionUsage | undefined | null): Usage | null {
  if (usage === undefined || usage === null) return null
  const { prompt_tokens, completion_tokens } = usage
  if (!Number.isInteger(prompt_tokens) || !Number.isInteger(completion_tokens)) return null
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
}
