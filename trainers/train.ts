/** The training loop: batches, passes, accumulated gradients, AdamW, checkpoints. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { datasetRow } from '../src/contract/dataset.ts'
import type { TrainMetric } from '../src/contract/run.ts'
import type { TrainConfig } from '../src/contract/train-config.ts'
import {
  AdamW,
  type CausalLM,
  clipScale,
  GradientAccumulator,
  LoraAdapter,
  type LayoutName,
  type LoraConfig,
  loadModel,
  lossAndGradients,
  Runtime,
  saveLora,
  type TrainRow,
} from '../src/engine/index.ts'
import { ShadowError } from '../src/lib/error.ts'
import { readJsonLines, toJsonLines, writeFileAtomically } from '../src/lib/files.ts'
import { BatchOrder, passesOf } from './batches.ts'
import { CheckpointFolder } from './checkpoint.ts'
import { chooseLayout } from './layout.ts'
import type { TrainJob } from './protocol.ts'
import { methods } from './registry.ts'
import { learningRateAt, totalSteps } from './schedule.ts'
import { siblingGroups } from './siblings.ts'

export interface TrainHooks {
  onStep(metric: TrainMetric, totalSteps: number): void
  onNote(text: string): void
  /** Asked after every step. */
  shouldStop(): boolean
}

export interface TrainOutcome {
  steps: number
  /** The step of the checkpoint it went on from; 0 for a fresh start. */
  resumedFrom: number
  stopped: boolean
}

/**
 * Trains an adapter and writes it to `job.outputFolder/adapter`. Killed at any point it goes on from its
 * last checkpoint; the adapter's bytes are the same as without the kill.
 * @throws ShadowError training_diverged | out_of_memory | invalid_file
 */
export async function train(job: TrainJob, hooks: TrainHooks): Promise<TrainOutcome> {
  const { config } = job
  const runtime = new Runtime()
  const { model, ...text } = loadModel(runtime, job.modelPath)
  const dataset = await readJsonLines(job.datasetPath, (value) => datasetRow.parse(value))
  const { rows, notes } = methods[config.method].prepare(dataset, text, config)
  for (const note of notes) hooks.onNote(note)
  if (rows.length === 0) {
    throw new ShadowError('invalid_config', 'No row of the dataset is short enough to train on.', {
      hint: 'Raise train.max_length.',
    })
  }
  const checkpoints = new CheckpointFolder(job.workFolder, fingerprintOf(job))
  const loop = new TrainingLoop(runtime, model, config, rows, checkpoints, (text) => hooks.onNote(text))
  const resumedFrom = loop.resume()
  while (loop.step < loop.totalSteps) {
    const metric = loop.advance()
    hooks.onStep(metric, loop.totalSteps)
    const last = loop.step === loop.totalSteps
    const stopped = !last && hooks.shouldStop()
    if (last || stopped || loop.step % config.save_steps === 0) loop.save()
    if (stopped) return { steps: loop.step, resumedFrom, stopped: true }
    // Lets the parent's messages in.
    await new Promise((resolve) => setImmediate(resolve))
  }
  await saveLora(join(job.outputFolder, 'adapter'), loop.adapter, job.baseModel)
  await writeFileAtomically(join(job.outputFolder, 'metrics.ndjson'), toJsonLines(loop.metrics))
  return { steps: loop.step, resumedFrom, stopped: false }
}

class TrainingLoop {
  step = 0
  readonly totalSteps: number
  readonly metrics: TrainMetric[] = []
  adapter: LoraAdapter
  #optimizer: AdamW
  readonly #runtime: Runtime
  readonly #model: CausalLM
  readonly #config: TrainConfig
  readonly #rows: readonly TrainRow[]
  readonly #order: BatchOrder
  readonly #checkpoints: CheckpointFolder
  readonly #gradients: GradientAccumulator
  readonly #layout: LayoutName
  #elapsedBefore = 0
  #startedAt = performance.now()

  constructor(
    runtime: Runtime,
    model: CausalLM,
    config: TrainConfig,
    rows: readonly TrainRow[],
    checkpoints: CheckpointFolder,
    onNote: (text: string) => void,
  ) {
    this.#runtime = runtime
    this.#model = model
    this.#config = config
    this.#rows = rows
    this.#checkpoints = checkpoints
    this.totalSteps = totalSteps(config, rows.length)
    const ids = rows.map((row) => row.ids)
    // Under dropout nothing is shared, so nothing is gained by a step of siblings.
    const groups =
      config.lora_dropout > 0 ? ids.map((_, index) => [index]) : siblingGroups(ids, config.train_batch_size)
    this.#order = new BatchOrder(groups, config.train_batch_size, config.seed)
    this.#gradients = new GradientAccumulator(runtime)
    this.adapter = LoraAdapter.create(model, loraConfigOf(config), config.seed)
    this.#optimizer = this.#createOptimizer()
    this.#layout = chooseLayout(model, this.adapter, this.#rowsOf(0), config.max_tokens_per_pass, onNote)
  }

  /** @returns the step gone on from; 0 where there is no checkpoint */
  resume(): number {
    const checkpoint = this.#checkpoints.load(this.adapter.parameterNames)
    if (checkpoint === null) return 0
    this.#optimizer.dispose()
    this.adapter = LoraAdapter.fromTensors(this.#model, loraConfigOf(this.#config), checkpoint.parameters)
    this.#optimizer = this.#createOptimizer()
    this.#optimizer.importState(checkpoint.optimizer)
    this.step = checkpoint.step
    this.metrics.push(...checkpoint.metrics)
    this.#elapsedBefore = checkpoint.metrics.at(-1)?.elapsed_s ?? 0
    this.#startedAt = performance.now()
    return checkpoint.step
  }

  /** One optimizer step. */
  advance(): TrainMetric {
    const started = performance.now()
    const batch = this.#rowsOf(this.step)
    let tokens = 0
    let rowTokens = 0
    const passes = passesOf(batch, this.#config.max_tokens_per_pass, this.#layout)
    for (const [pass, rows] of passes.entries()) {
      const dropoutSeed = this.#config.seed + this.step * 4096 + pass
      const result = lossAndGradients(this.#model, this.adapter, rows, {
        dropoutSeed,
        layout: this.#layout,
      })
      // What was computed: a prefix that rows of the pass share counts once.
      tokens += result.tokens
      rowTokens += result.rowTokens
      this.#gradients.add(result)
    }
    const loss = this.#gradients.meanLoss
    const norm = this.#gradients.meanGradientNorm
    const learningRate = learningRateAt(this.#config, this.step, this.totalSteps)
    const scale = clipScale(norm, this.#config.max_grad_norm) / this.#gradients.weightSum
    this.#optimizer.update(this.#gradients.gradients, learningRate, scale)
    this.#gradients.reset()
    this.step += 1

    const now = performance.now()
    const metric: TrainMetric = {
      step: this.step,
      epoch: (this.step * this.#config.train_batch_size) / this.#rows.length,
      loss,
      learning_rate: learningRate,
      grad_norm: norm,
      target_tokens: batch.reduce(
        (sum, row) => sum + row.targetWeights.filter((weight) => weight > 0).length,
        0,
      ),
      tokens,
      unique_token_ratio: tokens / rowTokens,
      tokens_per_second: (1000 * tokens) / (now - started),
      elapsed_s: this.#elapsedBefore + (now - this.#startedAt) / 1000,
      peak_memory_bytes: process.resourceUsage().maxRSS * 1024,
    }
    this.metrics.push(metric)
    return metric
  }

  save(): void {
    this.#checkpoints.save({
      step: this.step,
      metrics: this.metrics,
      adapter: this.adapter,
      optimizer: this.#optimizer.exportState(),
    })
  }

  #rowsOf(step: number): TrainRow[] {
    return this.#order.rowsOf(step).flatMap((index) => this.#rows[index] ?? [])
  }

  #createOptimizer(): AdamW {
    return new AdamW(this.#runtime, this.adapter.parameters, { weightDecay: this.#config.weight_decay })
  }
}

function loraConfigOf(config: TrainConfig): LoraConfig {
  const { lora_r: r, lora_alpha, lora_dropout, target_modules } = config
  return { r, lora_alpha, lora_dropout, target_modules }
}

function fingerprintOf(job: TrainJob): string {
  const base = createHash('sha256').update(readFileSync(job.modelPath)).digest('hex')
  return createHash('sha256')
    .update(JSON.stringify([base, job.datasetHash, job.config]))
    .digest('hex')
}
