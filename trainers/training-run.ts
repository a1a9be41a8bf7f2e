/** A training in a folder of its own: run.json, metrics.ndjson, checkpoints, and the adapter in the end. */
import { existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { z } from 'zod'
import { type MetricRecord, metricRecord, type TrainMetric } from '../src/contract/run.ts'
import { messageOf, ShadowError } from '../src/lib/error.ts'
import {
  type MetricName,
  type PlotOptions,
  plotMetric,
  type Point,
  series,
  smoothed,
  sparkline,
} from './curve.ts'
import { type FoundCheckpoint, findCheckpoints } from './found-checkpoints.ts'
import { isTrainMetric, readMetricRecords } from './metric-log.ts'

/** run.json */
export const trainingRunRecord = z.object({
  /** The base model as it was named. */
  base: z.string(),
  method: z.string(),
  state: z.enum(['pending', 'running', 'succeeded', 'stopped', 'failed']),
  resumed: z.boolean(),
  /** Optimizer steps done when this was written: at the start, after the first step, in the end. */
  step: z.number().int().nonnegative(),
  /** 0 before the first step. */
  totalSteps: z.number().int().nonnegative(),
  /** Milliseconds since the epoch. */
  startedAt: z.number(),
  finishedAt: z.number().nullable(),
  /** `code: message` of what it failed with. */
  error: z.string().nullable(),
  config: z.record(z.string(), z.unknown()),
})
export type TrainingRunRecord = z.infer<typeof trainingRunRecord>

const serialised = z.object({ folder: z.string(), record: trainingRunRecord, metrics: z.array(metricRecord) })

export class TrainingRun {
  readonly folder: string
  readonly record: TrainingRunRecord
  readonly metrics: readonly MetricRecord[]

  constructor(folder: string, record: TrainingRunRecord, metrics: readonly MetricRecord[]) {
    this.folder = folder
    this.record = record
    this.metrics = metrics
  }

  /** Reads a run's folder. @throws ShadowError not_found | invalid_file */
  static read(folder: string): TrainingRun {
    const path = join(folder, 'run.json')
    if (!existsSync(path))
      throw new ShadowError('not_found', `${folder} holds no training.`, { hint: 'It has no run.json.' })
    try {
      const record = trainingRunRecord.parse(JSON.parse(readFileSync(path, 'utf8')))
      return new TrainingRun(folder, record, readMetricRecords(join(folder, 'metrics.ndjson')))
    } catch (thrown) {
      throw new ShadowError('invalid_file', `${path} can't be read: ${messageOf(thrown)}.`, { cause: thrown })
    }
  }

  /** What `toJSON` gave. @throws ZodError */
  static fromJSON(value: unknown): TrainingRun {
    const { folder, record, metrics } = serialised.parse(value)
    return new TrainingRun(folder, record, metrics)
  }

  /** The folder's name. */
  get id(): string {
    return basename(this.folder)
  }

  /** Mean NLL in nats of the last record; null before the first. */
  get loss(): number | null {
    return this.#last?.loss ?? null
  }

  get evalLoss(): number | null {
    return series(this.metrics, 'eval_loss').at(-1)?.[1] ?? null
  }

  /** Optimizer steps done; while it runs, those that are recorded. */
  get step(): number {
    return Math.max(this.record.step, this.#last?.step ?? 0)
  }

  /** Share of the steps that are done, 0 to 1. */
  get progress(): number {
    const { totalSteps } = this.record
    return totalSteps === 0 ? 0 : Math.min(1, this.step / totalSteps)
  }

  /** Seconds spent training. */
  get durationS(): number {
    return this.metrics.at(-1)?.elapsed_s ?? 0
  }

  get stepsPerS(): number | null {
    const last = this.#last
    return last === undefined || last.elapsed_s === 0 ? null : last.step / last.elapsed_s
  }

  /** Seconds to the last step at the speed so far; null before the first record. */
  get etaS(): number | null {
    const speed = this.stepsPerS
    return speed === null ? null : Math.max(0, this.record.totalSteps - this.step) / speed
  }

  /** Computed so far. */
  get tokens(): number | null {
    return this.#last?.tokens ?? null
  }

  get peakMemGb(): number | null {
    const peaks = series(this.metrics, 'peak_mem_gb').map(([, value]) => value)
    return peaks.length === 0 ? null : Math.max(...peaks)
  }

  losses(): number[] {
    return series(this.metrics, 'loss').map(([, loss]) => loss)
  }

  series(name: MetricName): Point[] {
    return series(this.metrics, name)
  }

  /** The losses under an exponential mean. @param weight of the mean so far, 0 to below 1 */
  smoothed(weight = 0.9): number[] {
    return smoothed(this.losses(), weight)
  }

  sparkline(width?: number): string {
    return sparkline(this.losses(), width)
  }

  plot(name: MetricName = 'loss', options: PlotOptions = {}): string {
    return plotMetric(this.metrics, name, options)
  }

  /** Oldest first, a finished adapter last. */
  checkpoints(): FoundCheckpoint[] {
    return findCheckpoints(this.folder)
  }

  /**
   * @param step null: the finished adapter, or the newest checkpoint where there is none yet
   * @throws ShadowError not_found listing those there are
   */
  checkpointAt(step: number | null = null): FoundCheckpoint {
    const all = this.checkpoints()
    const found = step === null ? all.at(-1) : all.find((one) => one.step === step)
    if (found !== undefined) return found
    const names = all.map((one) => (one.step === null ? 'final' : `step ${one.step}`)).join(', ')
    const wanted = step === null ? 'a checkpoint' : `a checkpoint of step ${step}`
    throw new ShadowError('not_found', `${this.folder} does not hold ${wanted}.`, {
      hint: names === '' ? 'It has none yet.' : `There are: ${names}.`,
    })
  }

  toJSON(): z.infer<typeof serialised> {
    return { folder: this.folder, record: this.record, metrics: [...this.metrics] }
  }

  get #last(): TrainMetric | undefined {
    return this.metrics.findLast(isTrainMetric)
  }
}
