/** Metrics as curves: series by name, smoothed, as one line of blocks, as a chart for the terminal. */
import plot from 'simple-ascii-chart'
import type { MetricRecord } from '../src/contract/run.ts'
import { ShadowError } from '../src/lib/error.ts'

export type Point = readonly [step: number, value: number]

/** Every number of a record but its step, in the order in which a person would ask. */
export const metricNames = [
  'loss',
  'eval_loss',
  'lr',
  'grad_norm',
  'epoch',
  'target_tokens',
  'tokens',
  'tokens_per_s',
  'unique_token_ratio',
  'elapsed_s',
  'peak_mem_gb',
] as const
export type MetricName = (typeof metricNames)[number]

/** @throws ShadowError invalid_request naming those there are */
export function metricName(text: string): MetricName {
  const name = metricNames.find((known) => known === text)
  if (name !== undefined) return name
  throw new ShadowError('invalid_request', `There is no metric ${text}.`, {
    hint: `Choose one of: ${metricNames.join(', ')}.`,
  })
}

/** The steps and values of a metric, in the order of recording. */
export function series(records: readonly MetricRecord[], name: MetricName): Point[] {
  return records.flatMap((record) => {
    const value: unknown = Object.entries(record).find(([key]) => key === name)?.[1]
    return typeof value === 'number' && Number.isFinite(value) ? [[record.step, value] as const] : []
  })
}

/** The exponential mean: each value has the share 1 − weight, the mean so far the rest; it starts with the first value. */
export function smoothed(values: readonly number[], weight: number): number[] {
  let mean = values[0] ?? 0
  return values.map((value) => {
    mean = weight * mean + (1 - weight) * value
    return mean
  })
}

const blocks = '▁▂▃▄▅▆▇█'

/** The values as blocks, the lowest ▁ and the highest █; more than `width` are averaged in as many parts. */
export function sparkline(values: readonly number[], width = 24): string {
  const count = Math.min(width, values.length)
  const means = Array.from({ length: count }, (_, part) => {
    const slice = values.slice(
      Math.floor((part * values.length) / count),
      Math.floor(((part + 1) * values.length) / count),
    )
    return slice.reduce((sum, value) => sum + value, 0) / slice.length
  })
  const low = Math.min(...means)
  const range = Math.max(...means) - low
  return means.map((mean) => blocks[range === 0 ? 0 : Math.round(((mean - low) / range) * 7)] ?? '').join('')
}

export interface PlotOptions {
  /** Weight of the exponential mean drawn over the loss. Default 0.6; 0 draws none. */
  smooth?: number
  /** Rows of the chart. Default 8. */
  height?: number
  /** Columns of the chart. Default 60. */
  width?: number
  /** Only the last records, this many. */
  window?: number
  /** A logarithmic axis; values that are not above 0 are left out. */
  log?: boolean
  /** The percentile above which values are cut, 0.95 for instance. */
  clip?: number
}

/** A chart of one metric, and a line that sums it up. Where there is nothing to draw, a sentence about why. */
export function plotMetric(
  records: readonly MetricRecord[],
  name: MetricName,
  options: PlotOptions = {},
): string {
  const { smooth = 0.6, height = 8, width = 60, window, log = false, clip } = options
  const all = series(records, name).slice(window === undefined ? 0 : -window)
  const drawable = log ? all.filter(([, value]) => value > 0) : all
  if (drawable.length === 0) return nothingToDraw(name, all.length > 0)
  const values = drawable.map(([, value]) => value)
  const ceiling = clip === undefined ? Number.POSITIVE_INFINITY : percentile(values, clip)
  const scaled = (value: number): number =>
    log ? Math.log10(Math.min(value, ceiling)) : Math.min(value, ceiling)
  // Smoothing hides what a learning rate or a memory peak does; a loss is noise around a curve.
  const means = name === 'loss' && smooth > 0 ? smoothed(values, smooth) : null
  const points = (of: readonly number[]): [number, number][] =>
    drawable.map(([step], index) => [step, scaled(of[index] ?? 0)])
  const chart = draw(points(values), means === null ? [] : points(means), { width, height, log })
  return `${name}\n${chart}\n${footer(drawable, means, { log, clip })}\n`
}

function nothingToDraw(name: MetricName, notPositive: boolean): string {
  if (notPositive) return `${name}: no value is above 0, so none can be drawn with --log\n`
  if (name === 'eval_loss') return 'eval_loss: evaluation not configured; set train.eval_dataset\n'
  return `${name}: (no data yet)\n`
}

function draw(
  raw: readonly [number, number][],
  means: readonly [number, number][],
  { width, height, log }: { width: number; height: number; log: boolean },
): string {
  const [first = 0, last = 0] = [raw[0]?.[0], raw.at(-1)?.[0]]
  const values = raw.map(([, value]) => value)
  const [low, high] = [Math.min(...values), Math.max(...values)]
  const shown = (value: number): string => Number((log ? 10 ** value : value).toPrecision(3)).toString()
  const chart = plot([...raw], {
    width,
    height,
    mode: 'point',
    points: means.map(([x, y]) => ({ x, y })),
    symbols: { point: '·' },
    customXAxisTicks: [...new Set([first, Math.round((first + last) / 2), last])],
    customYAxisTicks: low === high ? [low] : [low, (low + high) / 2, high],
    formatter: (value, { axis }) => (axis === 'x' ? String(value) : shown(value)),
  })
  // The package draws its points over the series: so the means are its points, and the symbols change places.
  const swapped =
    means.length === 0
      ? chart.replaceAll('●', '·')
      : chart.replaceAll(/[●·]/g, (symbol) => (symbol === '●' ? '·' : '●'))
  return swapped
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => line !== '')
    .join('\n')
}

function footer(
  points: readonly Point[],
  means: readonly number[] | null,
  { log, clip }: { log: boolean; clip: number | undefined },
): string {
  const values = points.map(([, value]) => value)
  const average = values.reduce((sum, value) => sum + value, 0) / values.length
  const show = (value: number): string => Number(value.toPrecision(4)).toString()
  return [
    `step ${points[0]?.[0]}–${points.at(-1)?.[0]}`,
    `last ${show(values.at(-1) ?? 0)}`,
    `avg ${show(average)}`,
    ...(means === null ? [] : [`ema ${show(means.at(-1) ?? 0)}`]),
    ...(log ? ['log'] : []),
    ...(clip === undefined ? [] : [`clip p${Math.round(100 * clip)}`]),
  ].join(' · ')
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
}
