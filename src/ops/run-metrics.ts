/** The metrics of a training, wherever it stands: finished, under way, or elsewhere on the disk. */
import { existsSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { metricName, type PlotOptions, plotMetric, series, sparkline } from '../../trainers/curve.ts'
import { readMetricRecords } from '../../trainers/metric-log.ts'
import type { MetricRecord } from '../contract/run.ts'
import { ShadowError } from '../lib/error.ts'
import { stageFolders } from './run/stage.ts'
import type { Workspace } from './workspace.ts'

const fileName = 'metrics.ndjson'

/**
 * The records of a run's training.
 * @param run its id or that of a training, `latest`, or the path of a metrics.ndjson or of a folder that holds one
 * @throws ShadowError not_found
 */
export async function runMetrics(workspace: Workspace, run: string): Promise<MetricRecord[]> {
  const training = join(workspace.home, 'runs', basename(run))
  const place = [run, training].find((path) => existsSync(path))
  const path = place === undefined ? await metricsOfRun(workspace, run) : metricsAt(place)
  if (path !== null) return readMetricRecords(path)
  throw new ShadowError('not_found', `${run} has no metrics yet.`, {
    hint: 'They come with the first steps of its training; `shadow runs` shows which stage it is at.',
  })
}

/** A chart of one metric. @throws ShadowError not_found | invalid_request for a metric that there isn't */
export async function plotRun(
  workspace: Workspace,
  run: string,
  metric: string,
  options: PlotOptions,
): Promise<string> {
  const name = metricName(metric)
  return plotMetric(await runMetrics(workspace, run), name, options)
}

/** The training's losses as one line of blocks and the last of them; null before it has begun. */
export async function lossLine(workspace: Workspace, run: string): Promise<string | null> {
  const path = await metricsOfRun(workspace, run)
  const losses = path === null ? [] : series(readMetricRecords(path), 'loss').map(([, loss]) => loss)
  const last = losses.at(-1)
  return last === undefined ? null : `${sparkline(losses, 12)} ${last.toFixed(3)}`
}

function metricsAt(path: string): string | null {
  const file = statSync(path).isDirectory() ? join(path, fileName) : path
  return existsSync(file) ? file : null
}

async function metricsOfRun({ pipeline, home }: Workspace, run: string): Promise<string | null> {
  const known = run === 'latest' ? (await pipeline.runs.list(null, 1))[0] : await pipeline.runs.find(run)
  if (known === undefined || known === null) {
    throw new ShadowError('not_found', `There is no run ${run}.`, { hint: '`shadow runs` lists them.' })
  }
  const key = await pipeline.stages.keyInRun(known.id, 'train')
  if (key === null) return null
  const { final, work } = stageFolders(home, known.task, 'train', key)
  return metricsAt(existsSync(final) ? final : work)
}
