/** Supervised fine-tuning in memory: what `LanguageModel.train` does. Long runs with checkpoints are `trainers`' work. */
import { ShadowError } from '../lib/error.ts'
import { seededRandom, shuffled } from '../lib/random.ts'
import type { LoraAdapter } from './adapters/lora.ts'
import { chooseLayout } from './choose-layout.ts'
import { chatTemplateOf, type ModelText } from './model-files.ts'
import type { CausalLM } from './models/causal-lm.ts'
import { AdamW } from './optim/adamw.ts'
import { fitOptions, parseOptions, trainExample } from './options.ts'
import { takeOptimizerStep } from './optimizer-step.ts'
import type { TemplateMessage, TemplateTool } from './tokenizer/chat-message.ts'
import type { TrainRow } from './train-step.ts'
import { passesOf } from './tree/passes.ts'

/** A conversation, whose assistant turns are learned, or raw text, all of whose tokens are. */
export type TrainExample =
  | string
  | { readonly messages: readonly TemplateMessage[]; readonly tools?: readonly TemplateTool[] }

/** Names and meanings are those of TRL's SFTConfig. */
export interface TrainOptions {
  /** Default 1e-3. */
  learning_rate?: number
  /** Optimizer steps. Default: num_train_epochs over the examples. */
  max_steps?: number
  /** Default 3. */
  num_train_epochs?: number
  /** Rows of one optimizer step. Default 16. */
  per_device_train_batch_size?: number
  /** Tokens of one forward and backward pass. Default 1024; changes no result beyond rounding. */
  max_tokens_per_pass?: number
  /** Compute each block again in the backward pass: the same bits, less memory, slower. Default false. */
  gradient_checkpointing?: boolean
  /** Null: gradients are not clipped. Default 1. */
  max_grad_norm?: number | null
  /** Order of the rows, dropout. Default 3407. */
  seed?: number
  /** Called after each step. */
  onStep?: (step: TrainStep) => void
  /** Told why rows share no tokens, where they do not. Default: said on stderr, unless `load` was told not to. */
  onNote?: (text: string) => void
  /** Aborting ends the training after the step under way; what was learned stays. */
  signal?: AbortSignal
}

/** What one optimizer step of `LanguageModel.train` came to. */
export interface TrainStep {
  /** From 1. */
  readonly step: number
  /** Steps of the whole training. */
  readonly totalSteps: number
  /** Nats a token, before the step's update. */
  readonly loss: number
  /** Of this step's update. */
  readonly learningRate: number
  /** Of the mean gradient, before clipping. */
  readonly gradNorm: number
}

/**
 * Trains an adapter in place, with a learning rate that falls linearly to 0. Between steps other work of the event
 * loop gets its turn.
 * @param adapter or what makes it, once examples and options are known to be right
 * @returns the steps taken
 * @throws ShadowError `invalid_request` for examples without anything to learn or longer than the context,
 *   `invalid_config`, `training_diverged`
 */
export async function fit(
  model: CausalLM,
  text: ModelText,
  adapter: LoraAdapter | (() => LoraAdapter),
  examples: readonly TrainExample[],
  options: TrainOptions = {},
): Promise<TrainStep[]> {
  const {
    onStep: _onStep,
    onNote: _onNote,
    signal: _signal,
    ...settings
  } = parseOptions(fitOptions, options, 'train')
  const { learning_rate, seed, max_grad_norm, max_tokens_per_pass } = settings
  const { gradient_checkpointing: gradientCheckpointing } = settings
  const rows = toRows(model, text, examples)
  const batchSize = settings.per_device_train_batch_size
  const totalSteps = settings.max_steps ?? Math.ceil((settings.num_train_epochs * rows.length) / batchSize)
  const trained = typeof adapter === 'function' ? adapter() : adapter
  const optimizer = new AdamW(model.runtime, trained.parameters)
  const steps: TrainStep[] = []
  const batchOf = (step: number): TrainRow[] => rowsOf(rows, step, Math.min(batchSize, rows.length), seed)
  try {
    const layout = chooseLayout(model, trained, batchOf(0), {
      maxTokensPerPass: max_tokens_per_pass,
      gradientCheckpointing,
      onNote: (text) => options.onNote?.(text),
    })
    for (let step = 0; step < totalSteps && options.signal?.aborted !== true; step++) {
      const passes = passesOf(batchOf(step), max_tokens_per_pass, layout)
      const learningRate = learning_rate * (1 - step / totalSteps)
      const { loss, gradNorm } = takeOptimizerStep({
        model,
        adapter: trained,
        optimizer,
        passes,
        learningRate,
        maxGradNorm: max_grad_norm,
        lossOptions: (pass) => ({
          gradientCheckpointing,
          layout,
          ...(trained.dropout > 0 ? { dropoutSeed: seed + step * 1009 + pass } : {}),
        }),
      })
      const report = { step: step + 1, totalSteps, learningRate, loss, gradNorm }
      steps.push(report)
      options.onStep?.(report)
      await new Promise((resolve) => setImmediate(resolve))
    }
  } finally {
    optimizer.dispose()
  }
  return steps
}

/** Epochs one after another, each in an order of its own; a batch may cross their border. */
function rowsOf(rows: readonly TrainRow[], step: number, batchSize: number, seed: number): TrainRow[] {
  return Array.from({ length: batchSize }, (_, offset) => {
    const at = step * batchSize + offset
    const order = shuffled(rows, seededRandom(seed + Math.floor(at / rows.length)))
    return order[at % rows.length]
  }).filter((row) => row !== undefined)
}

function toRows(model: CausalLM, text: ModelText, examples: readonly TrainExample[]): TrainRow[] {
  if (!Array.isArray(examples) || examples.length === 0)
    throw new ShadowError('invalid_request', 'There are no examples to train on.')
  return examples.map((example, index) => {
    const row = toRow(text, example, `Example ${index + 1}`)
    if (row.ids.length <= model.contextLength) return row
    throw new ShadowError(
      'invalid_request',
      `${row.name} has ${row.ids.length} tokens, the model's context is ${model.contextLength}.`,
      { hint: 'Shorten it, or leave it out.' },
    )
  })
}

function toRow(text: ModelText, example: TrainExample, name: string): NamedRow {
  parseExample(example, name)
  if (typeof example === 'string') {
    const { tokenizer } = text
    const { eosTokenId } = tokenizer
    const ids = Int32Array.from([
      ...tokenizer.encode(example),
      ...(eosTokenId === undefined ? [] : [eosTokenId]),
    ])
    if (ids.length < 2)
      throw new ShadowError('invalid_request', `${name} is too short to learn from.`, {
        hint: 'A token needs one before it to be predicted.',
      })
    return { ids, targetWeights: new Float32Array(ids.length).fill(1, 1), name }
  }
  const { messages, tools = [] } = example
  const lossOn = messages.map(({ role }) => role === 'assistant')
  const { ids, targetMask } = chatTemplateOf(text).encode(messages, { tools, lossOn })
  if (!targetMask.includes(1))
    throw new ShadowError('invalid_request', `${name} has no assistant turn to learn.`, {
      hint: 'End each conversation with the answer that is wanted.',
    })
  return { ids, targetWeights: Float32Array.from(targetMask), name }
}

type NamedRow = TrainRow & { readonly name: string }

function parseExample(example: TrainExample, name: string): void {
  const { success, error } = trainExample.safeParse(example)
  if (!success)
    throw new ShadowError('invalid_request', `${name} ${error.issues[0]?.message}.`, { cause: error })
}
