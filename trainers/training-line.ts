/** A training in a line: while it runs, beside a bar with steps and time left; and when it has ended. */
import type { MetricRecord, TrainMetric } from '../src/contract/run.ts'
import { series, sparkline } from './curve.ts'

/** `loss 0.4213  lr 9.5e-4  212 tokens/s  0.41 GB  eval 0.5120  0.52 steps/s`: a narrow terminal cuts the end. */
export function progressText(metric: TrainMetric, evalLoss: number | null): string {
  return [
    `loss ${metric.loss.toFixed(4)}`,
    `lr ${metric.lr.toExponential(1)}`,
    `${Math.round(metric.tokens_per_s)} tokens/s`,
    `${metric.peak_mem_gb.toFixed(2)} GB`,
    ...(evalLoss === null ? [] : [`eval ${evalLoss.toFixed(4)}`]),
    `${(metric.step / metric.elapsed_s).toPrecision(2)} steps/s`,
  ].join('  ')
}

/** The losses as blocks between the first and the last: `3.120 █▆▃▂▁▁ 0.412`. Empty before the first record. */
export function lossCurve(records: readonly MetricRecord[]): string {
  const losses = series(records, 'loss').map(([, loss]) => loss)
  const [first, last] = [losses[0], losses.at(-1)]
  if (first === undefined || last === undefined) return ''
  return `${first.toFixed(3)} ${sparkline(losses)} ${last.toFixed(3)}`
}
