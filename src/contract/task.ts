/** A task: a kind of work that one owned model can take over, and everything that is decided about it. */
import { z } from 'zod'
import { redaction } from './redaction.ts'
import { taskRetention } from './store-config.ts'
import { trainConfig } from './train-config.ts'

/** The name is part of URLs and file names. */
export const taskName = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9._-]{0,63}$/,
    'a task name is 1 to 64 of a-z, 0-9, ".", "_", "-", starting with a letter or digit',
  )

/** The task of calls that name none. */
export const defaultTask = 'default'

/** How calls that name no task are known as this task's; every given criterion must hold. */
export const recognition = z.strictObject({
  /** Model names as the agent asks for them. */
  models: z.array(z.string()).default([]),
  /** A text that the system prompt begins with. */
  systemPrefix: z.string().nullable().default(null),
})
export type Recognition = z.infer<typeof recognition>

/** An OpenAI-compatible endpoint that scores. */
export const judgeEndpoint = z.strictObject({
  baseUrl: z
    .url({ protocol: /^https?$/, error: 'must be an http(s) URL' })
    .refine((url) => new URL(url).username === '' && new URL(url).password === '', {
      error: 'must hold no key: name the environment variable that does in apiKeyEnv',
    }),
  model: z.string().default('judge'),
  /** Name of the environment variable that holds its key; the key itself is never stored. */
  apiKeyEnv: z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'names an environment variable; the key itself is never stored')
    .nullable()
    .default(null),
  /** Calls under way at once. */
  concurrency: z.number().int().positive().default(8),
})
export type JudgeEndpoint = z.infer<typeof judgeEndpoint>

export const scorerName = z.enum(['exact', 'contains', 'json'])
export type ScorerName = z.infer<typeof scorerName>

export const holdOut = z.strictObject({
  /** Share of the sessions, newest first, that training never sees. */
  fraction: z.number().gt(0).lt(1).default(0.2),
  /** A number of sessions instead of a share. */
  sessions: z.number().int().positive().nullable().default(null),
})

export const gatePolicy = z.strictObject({
  /** How much worse than the frontier the owned model may be, as a difference of mean scores. */
  margin: z.number().min(0).max(1).default(0.02),
  /** Held-out calls below which nothing is promoted. */
  minimumSample: z.number().int().positive().default(50),
  /** Confidence of the one-sided lower bound. */
  confidence: z.number().gt(0.5).lt(1).default(0.95),
})
export type GatePolicy = z.infer<typeof gatePolicy>

/** How the owned model answers; what was evaluated is what serves. */
export const servePolicy = z.strictObject({
  /** 0 is greedy. An agent's own temperature is not honoured, since the evaluation didn't measure it. */
  temperature: z.number().min(0).max(2).default(0),
  /** Upper bound of a reply when the agent sets none. */
  maxTokens: z.number().int().positive().default(256),
})
export type ServePolicy = z.infer<typeof servePolicy>

export const defaultRubric =
  'Score how well the answer does what the conversation asks: correctness first, then completeness, then concision.'

export const taskConfig = z.strictObject({
  recognise: recognition.prefault({}),
  /** Name of the upstream that answers for the frontier; null leaves it to the request. */
  upstream: z.string().min(1).nullable().default(null),
  /** Whether the upstream is asked for the token counts of streamed replies; an agent that didn't ask sees none. */
  usage: z.boolean().default(false),
  rubric: z.string().min(1).default(defaultRubric),
  /** Null: every complete call is kept, and the report says so. */
  judge: judgeEndpoint.nullable().default(null),
  /** How an answer is compared with its reference. */
  scorer: scorerName.default('exact'),
  /** A judge's score below which an answer is no training target. */
  threshold: z.number().min(0).max(1).default(0.5),
  holdOut: holdOut.prefault({}),
  gate: gatePolicy.prefault({}),
  baseModel: z.string().default('smollm2-135m-instruct'),
  train: trainConfig.prefault({}),
  serve: servePolicy.prefault({}),
  /** How long its calls are kept. */
  retention: taskRetention.prefault({}),
  /** What is taken out of its calls before they are written, beside what the store takes out of all. */
  redaction: redaction.prefault({}),
})
export type TaskConfig = z.infer<typeof taskConfig>

export const task = z.object({
  name: taskName,
  createdAt: z.number(),
  config: taskConfig,
})
export type Task = z.infer<typeof task>

/**
 * A right answer, imported. It belongs to every call whose conversation equals `messages`, or, where those
 * are not given, whose last user message equals `input`.
 */
export const reference = z.union([
  z.strictObject({ input: z.string(), answer: z.string() }),
  z.strictObject({ messages: z.array(z.looseObject({ role: z.string() })).min(1), answer: z.string() }),
])
export type Reference = z.infer<typeof reference>
