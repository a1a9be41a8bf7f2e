/** The state of a training and one step of it: passes, accumulated gradients, AdamW, checkpoints. */
import { join } from 'node:path'
import type { EvalMetric, TrainMetric } from '../src/contract/run.ts'
import type { TrainConfig } from '../src/contract/train-config.ts'
import {
  AdamW,
  AdamW8bit,
  type Adapter,
  type CausalLM,
  chooseLayout,
  type LayoutName,
  type Optimizer,
  passesOf,
  takeOptimizerStep,
  type TrainRow,
  type WeightSource,
} from '../src/engine/index.ts'
import { createAdapter } from './adapters.ts'
import { BatchOrder } from './batches.ts'
import { BestModel } from './best-model.ts'
import type { Checkpoint, CheckpointFolder } from './checkpoint.ts'
import { evaluateRows } from './evaluation.ts'
import { type MetricLog, readMetricRecords } from './metric-log.ts'
import { MetricWindow } from './metric-window.ts'
import type { Example } from './methods/method.ts'
import { methods } from './registry.ts'
import { siblingGroups } from './siblings.ts'
import { evaluationInterval, learningRateAt, rowsPerStep, stepsOf, totalSteps } from './schedule.ts'

export interface LoopParts {
  model: CausalLM
  config: TrainConfig
  /** Peak of the schedule. */
  learningRate: number
  examples: readonly Example[]
  /** Empty: no evaluation. */
  evaluation: readonly TrainRow[]
  checkpoints: CheckpointFolder
  log: MetricLog
  onNote(text: string): void
}

/** What a step gave that is worth telling. */
export interface StepReport {
  metric: TrainMetric | null
  evaluation: EvalMetric | null
}

/** Disposing it frees what the optimizer holds; the adapter is the caller's. */
export class TrainingLoop implements Disposable {
  step = 0
  readonly totalSteps: number
  readonly adapter: Adapter
  readonly #optimizer: Optimizer
  /** Steps of the newest checkpoint. */
  #saved = 0
  #stoppedEarly = false
  readonly #parts: LoopParts
  readonly #order: BatchOrder
  readonly #window = new MetricWindow()
  readonly #best: BestModel
  readonly #layout: LayoutName

  constructor(parts: LoopParts) {
    const { model, config, examples } = parts
    this.#parts = parts
    this.totalSteps = totalSteps(config, examples.length)
    this.#order = new BatchOrder(groupsOf(examples, config), rowsPerStep(config), config.seed)
    this.#best = new BestModel(config)
    this.adapter = createAdapter(model, config)
    const AdamWOf = config.optim === 'adamw_8bit' ? AdamW8bit : AdamW
    this.#optimizer = new AdamWOf(model.runtime, this.adapter.parameters, {
      betas: [config.adam_beta1, config.adam_beta2],
      eps: config.adam_epsilon,
      weightDecay: config.weight_decay,
    })
    const first = this.#batchOf(0).flat()
    this.#layout = chooseLayout(model, this.adapter, first, {
      maxTokensPerPass: config.max_tokens_per_pass,
      gradientCheckpointing: config.gradient_checkpointing,
      onNote: (text) => parts.onNote(text),
    })
  }

  get parameterNames(): readonly string[] {
    return this.adapter.parameterNames
  }

  get finished(): boolean {
    return this.#stoppedEarly || this.step >= this.totalSteps
  }

  get stoppedEarly(): boolean {
    return this.#stoppedEarly
  }

  /** The evaluation with the lowest loss; null where none was made. */
  get best(): { step: number; eval_loss: number } | null {
    return this.#best.state.best
  }

  /** Goes on from a checkpoint as if it had never stopped. */
  resume({ folder, state, parameters, optimizer }: Checkpoint): void {
    this.adapter.restore(parameters)
    this.#optimizer.importState(optimizer)
    this.step = state.step
    this.#saved = state.step
    this.#stoppedEarly = state.finished && state.step < state.total_steps
    this.#window.restore(state.metrics)
    this.#best.restore(state.evaluation)
    // A checkpoint from elsewhere brings the records of its own training along.
    this.#parts.log.replace(readMetricRecords(join(folder, '..', 'metrics.ndjson')).slice(0, state.records))
  }

  /** Starts anew, or with the weights that another program had after `step` steps. */
  start(weights: WeightSource | null = null, step = 0): void {
    if (weights !== null) this.adapter.restore(weights)
    this.step = step
    this.#parts.log.keep(0)
  }

  /** Ends with the best checkpoint's adapter. */
  takeBest(): void {
    const best = this.best
    if (best === null || best.step === this.step) return
    const { checkpoints } = this.#parts
    this.adapter.restore(checkpoints.load(checkpoints.pathOf(best.step), this.parameterNames).parameters)
  }

  /** One optimizer step, and the evaluation and the checkpoint that are due after it. */
  advance(): StepReport {
    const { config, log, evaluation } = this.#parts
    const metric = this.#takeStep()
    if (metric !== null) log.append(metric)
    const due = evaluation.length > 0 && this.step % evaluationInterval(config, this.totalSteps) === 0
    const evaluated = due || (evaluation.length > 0 && this.finished) ? this.#evaluate() : null
    const interval = config.save_steps === null ? null : stepsOf(config.save_steps, this.totalSteps)
    if (this.finished || (interval !== null && this.step % interval === 0)) this.save()
    return { metric, evaluation: evaluated }
  }

  save(): void {
    if (this.#saved === this.step) return
    const { checkpoints, config, examples, log } = this.#parts
    log.flush()
    const rows = this.step * rowsPerStep(config)
    checkpoints.save(
      {
        state: {
          step: this.step,
          total_steps: this.totalSteps,
          finished: this.finished,
          seed: config.seed,
          position: { epoch: Math.floor(rows / examples.length), row: rows % examples.length },
          metrics: this.#window.state,
          records: log.records.length,
          evaluation: this.#best.state,
        },
        adapter: this.adapter,
        optimizer: this.#optimizer.exportState(),
      },
      {
        limit: config.save_total_limit,
        best: config.load_best_model_at_end ? (this.best?.step ?? null) : null,
      },
    )
    this.#saved = this.step
  }

  /** The step of the newest checkpoint that this training can go on from; 0 where there is none. */
  get savedStep(): number {
    return this.#saved
  }

  [Symbol.dispose](): void {
    this.#optimizer.dispose()
  }

  #takeStep(): TrainMetric | null {
    const { model, config, examples, learningRate } = this.#parts
    const started = performance.now()
    const batch = this.#batchOf(this.step)
    const lr = learningRateAt(config, learningRate, this.step, this.totalSteps)
    const { loss, gradNorm, tokens, rowTokens } = takeOptimizerStep({
      model,
      adapter: this.adapter,
      optimizer: this.#optimizer,
      passes: this.#passes(batch),
      learningRate: lr,
      maxGradNorm: config.max_grad_norm,
      lossOptions: (pass) => ({
        dropoutSeed: this.#dropoutSeed(pass),
        layout: this.#layout,
        gradientCheckpointing: config.gradient_checkpointing,
      }),
    })
    this.step += 1
    const rows = batch.flat()
    return this.#window.add(
      {
        step: this.step,
        epoch: (this.step * rowsPerStep(config)) / examples.length,
        loss,
        lr,
        grad_norm: gradNorm,
        target_tokens: rows.reduce((sum, row) => sum + row.targetWeights.filter((w) => w > 0).length, 0),
        tokens,
        row_tokens: rowTokens,
        seconds: (performance.now() - started) / 1000,
      },
      this.finished || this.step % config.logging_steps === 0,
    )
  }

  #batchOf(step: number): Example[] {
    return this.#order.rowsOf(step).map((index) => this.#parts.examples[index] ?? [])
  }

  /** A pass holds at most per_device_train_batch_size examples and max_tokens_per_pass tokens. */
  #passes(batch: readonly Example[]): TrainRow[][] {
    const { per_device_train_batch_size: size, max_tokens_per_pass } = this.#parts.config
    const parts = Array.from({ length: Math.ceil(batch.length / size) }, (_, part) =>
      batch.slice(part * size, (part + 1) * size).flat(),
    )
    return parts.flatMap((rows) => passesOf(rows, max_tokens_per_pass, this.#layout))
  }

  #dropoutSeed(pass: number): number {
    return this.#parts.config.seed + this.step * 4096 + pass
  }

  #evaluate(): EvalMetric {
    const { model, config, evaluation, examples, log } = this.#parts
    const started = performance.now()
    const eval_loss = evaluateRows(model, this.adapter, evaluation, {
      maxTokensPerPass: config.max_tokens_per_pass,
      layout: this.#layout,
    })
    this.#window.spend((performance.now() - started) / 1000)
    const metric = {
      step: this.step,
      epoch: (this.step * rowsPerStep(config)) / examples.length,
      eval_loss,
      elapsed_s: this.#window.state.elapsed_s,
    }
    log.append(metric)
    const lowest = this.#best.offer(this.step, eval_loss)
    this.#stoppedEarly = this.#best.exhausted && this.step < this.totalSteps
    if (lowest && config.load_best_model_at_end) this.save()
    return metric
  }
}

/** Rows that share a prefix come into one step. Packed ones are full already, and under dropout nothing is shared. */
function groupsOf(examples: readonly Example[], config: TrainConfig): number[][] {
  const packed = config.packing ?? methods[config.method].packing
  if (packed || config.lora_dropout > 0) return examples.map((_, index) => [index])
  const first = examples.map(([row]) => row?.ids ?? new Int32Array())
  return siblingGroups(first, rowsPerStep(config))
}
