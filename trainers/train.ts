/** A training as a function of model, rows and config: what the training child runs, and the library in process. */
import { join } from 'node:path'
import type { TrainingRow } from '../src/contract/dataset.ts'
import type { EvalMetric, MetricRecord, TrainMetric } from '../src/contract/run.ts'
import type { TrainConfig } from '../src/contract/train-config.ts'
import type { Adapter, CausalLM, ModelText } from '../src/engine/index.ts'
import { ShadowError } from '../src/lib/error.ts'
import { CheckpointFolder, checkpointAt } from './checkpoint.ts'
import { checkSettings } from './check-settings.ts'
import { splitForEvaluation } from './eval-split.ts'
import { hashRows } from './fingerprint.ts'
import { type LoopParts, TrainingLoop } from './loop.ts'
import { readForeignAdapter } from './foreign-adapter.ts'
import { decideResume, findCheckpoints } from './found-checkpoints.ts'
import { MetricLog } from './metric-log.ts'
import type { NumberedRow } from './methods/method.ts'
import { methods } from './registry.ts'

export interface TrainInput {
  model: CausalLM
  text: ModelText
  /** SHA-256 of the base model's files, part of what a checkpoint must agree with. */
  baseHash: string
  rows: readonly TrainingRow[]
  /** Rows to evaluate on; without them config.eval_dataset says which of `rows` are held out. */
  evalRows?: readonly TrainingRow[]
  config: TrainConfig
  /** The model was loaded with `loadOptions(config)`. Default false: settings about loading have no effect, which is said. */
  loadedByConfig?: boolean
  /** Checkpoints and metrics.ndjson live here; a training that finds its own goes on from them. */
  workFolder: string
  /** Go on from a checkpoint although it belongs to another base, data or config. Default false. */
  force?: boolean
}

export interface TrainHooks {
  /** Every `logging_steps` optimizer steps. */
  onStep?(metric: TrainMetric, totalSteps: number): void
  onEval?(metric: EvalMetric): void
  /** A sentence that a person should read: what was left out, what is not supported. */
  onNote?(text: string): void
  /** Asked after every step; the step under way is saved. */
  shouldStop?(): boolean
}

export interface TrainOutcome {
  /** Owned by the caller from here on. */
  adapter: Adapter
  steps: number
  totalSteps: number
  /** The step of the checkpoint it went on from; 0 for a fresh start. */
  resumedFrom: number
  state: 'finished' | 'stopped'
  /** The step whose adapter this is, where it is not the last one's. */
  bestStep: number | null
  metrics: readonly MetricRecord[]
}

/**
 * Trains an adapter. Killed at any point it goes on from its last checkpoint, to the same bytes as without the kill.
 * @throws ShadowError training_diverged | out_of_memory | invalid_config | invalid_request | invalid_file | store_failed
 */
export async function train(input: TrainInput, hooks: TrainHooks = {}): Promise<TrainOutcome> {
  const { model, config, workFolder } = input
  const note = (text: string): void => hooks.onNote?.(text)
  const { examples, evaluation } = prepare(input, note)
  for (const text of checkSettings(config, {
    evaluates: evaluation.length > 0,
    loads: input.loadedByConfig ?? false,
  }))
    note(text)
  const checkpoints = new CheckpointFolder(
    workFolder,
    {
      base: input.baseHash,
      data: hashRows(input.rows),
      evalData: input.evalRows === undefined ? null : hashRows(input.evalRows),
      config,
    },
    { force: input.force ?? false },
  )
  using log = new MetricLog(join(workFolder, 'metrics.ndjson'))
  const parts: LoopParts = {
    model,
    config,
    learningRate: config.learning_rate ?? methods[config.method].learningRate[config.adapter],
    examples,
    evaluation,
    checkpoints,
    log,
    onNote: note,
  }
  // Making it tries the layout of the first step.
  using loop = withAdvice(
    config,
    (message) => `Step 1: ${message}`,
    () => new TrainingLoop(parts),
  )
  const resumedFrom = resume(loop, checkpoints, config, note)
  if (resumedFrom > 0)
    note(loop.finished ? `already complete at step ${loop.step}` : `goes on from step ${resumedFrom}`)
  const outcome = (state: TrainOutcome['state'], bestStep: number | null): TrainOutcome => ({
    adapter: loop.adapter,
    steps: loop.step,
    totalSteps: loop.totalSteps,
    resumedFrom,
    state,
    bestStep,
    metrics: [...log.records],
  })
  while (!loop.finished) {
    const { metric, evaluation: evaluated } = advance(loop, config)
    if (metric !== null) hooks.onStep?.(metric, loop.totalSteps)
    if (evaluated !== null) hooks.onEval?.(evaluated)
    if (!loop.finished && hooks.shouldStop?.() === true) {
      loop.save()
      return outcome('stopped', null)
    }
    // Lets the parent's messages in.
    await new Promise((resolve) => setImmediate(resolve))
  }
  if (loop.stoppedEarly)
    note(
      `stopped early at step ${loop.step}: ${config.early_stopping_patience} evaluations without improvement`,
    )
  const best = config.load_best_model_at_end ? loop.best : null
  if (best === null || best.step === loop.step) return outcome('finished', null)
  loop.takeBest()
  note(
    `the adapter is that of step ${best.step}, whose evaluation loss ${best.eval_loss.toFixed(4)} was the lowest`,
  )
  return outcome('finished', best.step)
}

function prepare(input: TrainInput, note: (text: string) => void) {
  const { model, text, config, rows, evalRows } = input
  const maxLength = Math.min(config.max_length, model.contextLength)
  if (maxLength < config.max_length)
    note(
      `max_length ${config.max_length} is more than the model's context; ${maxLength} tokens count instead`,
    )
  const numbered = (all: readonly TrainingRow[]): NumberedRow[] =>
    all.map((row, index) => ({ row, line: index + 1 }))
  const split =
    evalRows === undefined
      ? splitForEvaluation(numbered(rows), config)
      : { train: numbered(rows), evaluation: numbered(evalRows) }
  const method = methods[config.method]
  const training = method.prepare(split.train, text, config, maxLength)
  for (const sentence of training.notes) note(sentence)
  if (training.examples.length === 0) {
    throw new ShadowError('invalid_config', 'No row of the dataset can be trained on.', {
      hint: 'Raise train.max_length, or give rows that hold something to learn.',
    })
  }
  const held = method.prepare(split.evaluation, text, config, maxLength)
  for (const sentence of held.notes) note(`evaluation: ${sentence}`)
  const evaluation = held.examples.flat()
  if (evaluation.length === 0 && (evalRows !== undefined || config.eval_dataset !== null))
    note('no row is left to evaluate on; there is no evaluation')
  return { examples: training.examples, evaluation }
}

/** @returns the step gone on from; 0 for a fresh start */
function resume(
  loop: TrainingLoop,
  checkpoints: CheckpointFolder,
  config: TrainConfig,
  note: (text: string) => void,
): number {
  const path = config.resume_from_checkpoint
  const own = checkpoints.newest(loop.parameterNames)
  const from = path === null ? null : checkpointAt(path)
  if (own !== null) loop.resume(own)
  else if (path === null) loop.start()
  else if (from !== null) loop.resume(checkpoints.load(from, loop.parameterNames))
  else resumeForeign(loop, config, path, note)
  return loop.step
}

/** Goes on from what another program saved: weights and step; the optimizer starts anew. */
function resumeForeign(
  loop: TrainingLoop,
  config: TrainConfig,
  path: string,
  note: (text: string) => void,
): void {
  const decision = decideResume(findCheckpoints(path), loop.totalSteps)
  if (decision.state === 'none') {
    throw new ShadowError('not_found', `There is no checkpoint in ${path}.`, {
      hint: 'resume_from_checkpoint names a step-<n> folder, or a folder that holds checkpoints of Shadow, transformers or mlx-lm.',
    })
  }
  const weights = readForeignAdapter(decision.from, config)
  loop.start(weights, decision.state === 'resume' ? decision.step : loop.totalSteps)
  if (decision.state === 'resume')
    note(
      `${decision.from.name} holds no optimizer state that is read: AdamW starts anew at step ${decision.step}`,
    )
}

/** One step; an error says which one, and what is left to go on from. */
function advance(loop: TrainingLoop, config: TrainConfig): ReturnType<TrainingLoop['advance']> {
  const kept = (): string =>
    loop.savedStep === 0 ? '' : ` The checkpoint of step ${loop.savedStep} is kept.`
  return withAdvice(
    config,
    (message) => `Step ${loop.step + 1}: ${message}${kept()}`,
    () => loop.advance(),
  )
}

/** Says where a training diverged or ran out of memory, and what to lower. */
function withAdvice<T>(config: TrainConfig, sentence: (message: string) => string, work: () => T): T {
  try {
    return work()
  } catch (thrown) {
    if (!(thrown instanceof ShadowError)) throw thrown
    const { code, message, hint = '' } = thrown
    if (code === 'training_diverged') throw new ShadowError(code, sentence(message), { hint, cause: thrown })
    if (code !== 'out_of_memory') throw thrown
    const first = config.gradient_checkpointing ? 'Lower' : 'Set gradient_checkpointing, or lower'
    throw new ShadowError(code, sentence(message), {
      hint: `${first} max_tokens_per_pass (now ${config.max_tokens_per_pass}), then max_length (now ${config.max_length}) or lora_r (now ${config.lora_r}).`,
      cause: thrown,
    })
  }
}
