/** What the library is told: checked once, so that a wrong or misspelt option is an error and not another default. */
import { z } from 'zod'
import { ShadowError } from '../lib/error.ts'
import { trainDefaults } from '../lib/train-defaults.ts'

/** @throws ShadowError `invalid_config` naming the option */
export function parseOptions<T>(schema: z.ZodType<T>, given: unknown, of: string): T {
  const parsed = schema.safeParse(given)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const path = issue?.path.join('.') ?? ''
  throw new ShadowError('invalid_config', `${path === '' ? of : `${of}: ${path}`}: ${issue?.message}.`, {
    cause: parsed.error,
  })
}

/** A callback; what it is called with is its type's business. */
const callback = z.custom<(...given: never[]) => unknown>((value) => typeof value === 'function')
const signal = z.instanceof(AbortSignal)

export const loadOptions = z.strictObject({
  adapter: z.string().min(1).optional(),
  maxContext: z.int().positive().optional(),
  threads: z.int().positive().optional(),
  verbose: z.boolean().optional(),
  quantization: z
    .union([
      z.enum(['none', 'keep']),
      z.strictObject({
        bits: z.literal([4, 8]),
        groupSize: z.literal([32, 64, 128]).optional(),
        scales: z.string().optional(),
      }),
    ])
    .optional(),
  dtype: z.enum(['float32', 'bfloat16']).optional(),
})

export const generateOptions = z.strictObject({
  maxNewTokens: z.int().positive().optional(),
  temperature: z.number().nonnegative().optional(),
  topP: z.number().gt(0).lte(1).optional(),
  seed: z.int().optional(),
  onText: callback.optional(),
  signal: signal.optional(),
})

/** Tools as OpenAI's requests list them. */
export const toolList = z.array(
  z.looseObject({
    type: z.string(),
    function: z
      .looseObject({
        name: z.string(),
        description: z.string().optional(),
        parameters: z.record(z.string(), z.unknown()).optional(),
      })
      .optional(),
  }),
)

export const fitOptions = z.strictObject({
  learning_rate: z.number().nonnegative().default(trainDefaults.learning_rate),
  max_steps: z.int().positive().optional(),
  num_train_epochs: z.number().positive().default(trainDefaults.num_train_epochs),
  per_device_train_batch_size: z.int().positive().default(trainDefaults.per_device_train_batch_size),
  max_tokens_per_pass: z.int().positive().default(trainDefaults.max_tokens_per_pass),
  gradient_checkpointing: z.boolean().default(trainDefaults.gradient_checkpointing),
  max_grad_norm: z.number().positive().nullable().default(trainDefaults.max_grad_norm),
  seed: z.int().nonnegative().default(trainDefaults.seed),
  onStep: callback.optional(),
  onNote: callback.optional(),
  signal: signal.optional(),
})

const turn = z.looseObject({
  role: z.string(),
  content: z
    .union([z.string(), z.array(z.looseObject({ text: z.string().optional() })), z.null()])
    .optional(),
  tool_calls: z
    .array(z.looseObject({ function: z.looseObject({ name: z.string(), arguments: z.string() }) }))
    .nullish(),
})

/** Messages in the shape of OpenAI's. */
export const conversation = z.array(turn).min(1)

export const trainExample = z.union(
  [z.string(), z.looseObject({ messages: conversation, tools: toolList.optional() })],
  {
    error: 'is neither text nor { messages: [{ role, content }, …] }',
  },
)
