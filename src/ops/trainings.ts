/** Trainings outside of a run: of rows that somebody has, in this process. */
import { existsSync, statSync } from 'node:fs'
import { z } from 'zod'
import { loadOptions } from '../../trainers/adapters.ts'
import { stepsIn } from '../../trainers/checkpoint.ts'
import {
  decideResume,
  type FoundCheckpoint,
  findCheckpoints,
  type ResumeDecision,
} from '../../trainers/found-checkpoints.ts'
import { newRunFolder, RunRegistry, trainInFolder } from '../../trainers/run-folder.ts'
import type { TrainHooks } from '../../trainers/train.ts'
import { TrainingRun } from '../../trainers/training-run.ts'
import { type TrainingRow, trainingRow } from '../contract/dataset.ts'
import { trainConfig } from '../contract/train-config.ts'
import { loadModel, Runtime } from '../engine/index.ts'
import { ShadowError } from '../lib/error.ts'
import { hashBaseModel } from './base-hash.ts'
import { findBaseModel } from './models.ts'
import type { Workspace } from './workspace.ts'

export interface TrainingRequest {
  /** A base model's name or path. */
  base: string
  rows: readonly TrainingRow[]
  /** Rows to evaluate on, instead of config.eval_dataset. */
  evalRows?: readonly TrainingRow[]
  /** Settings over the defaults; unknown ones are refused. */
  config?: unknown
  /** Default: a new one under SHADOW_HOME/runs. That of an earlier training goes on with it. */
  folder?: string
  /** Stops after the step under way, which is saved. */
  signal?: AbortSignal
}

/**
 * Trains in this process and leaves the adapter in the run's folder.
 * @throws ShadowError invalid_request naming the row | not_found | invalid_config | invalid_file | training_diverged |
 *   out_of_memory | store_failed | busy for a folder that is trained in
 */
export async function trainRows(
  { home }: Pick<Workspace, 'home'>,
  { base, rows, evalRows, config: settings = {}, folder, signal }: TrainingRequest,
  hooks: Omit<TrainHooks, 'shouldStop'> = {},
): Promise<TrainingRun> {
  const parsed = trainConfig.safeParse(settings)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    const name = issue?.path.join('.') ?? ''
    throw new ShadowError('invalid_config', `Setting${name === '' ? 's' : ` ${name}`}: ${issue?.message}.`, {
      cause: parsed.error,
    })
  }
  checkRows(rows, 'Row')
  checkRows(evalRows ?? [], 'Evaluation row')
  const path = findBaseModel(base)
  const { model, ...text } = loadModel(new Runtime(), path, loadOptions(parsed.data))
  const { run, outcome } = await trainInFolder(
    {
      model,
      text,
      baseHash: await hashBaseModel(base),
      rows,
      ...(evalRows === undefined ? {} : { evalRows }),
      config: parsed.data,
      loadedByConfig: true,
      base: { name: base, path },
      folder: folder ?? newRunFolder(home, base),
    },
    { ...hooks, shouldStop: () => signal?.aborted === true },
  )
  outcome.adapter.dispose()
  model.dispose()
  return run
}

const rowList = z.array(trainingRow)

function checkRows(rows: readonly TrainingRow[], what: string): void {
  const issue = rowList.safeParse(rows).error?.issues[0]
  if (issue === undefined) {
    const uneven = rows.findIndex((row) => 'messages' in row && row.loss.length !== row.messages.length)
    if (uneven >= 0)
      throw new ShadowError('invalid_request', `${what} ${uneven + 1} has not one loss weight a message.`)
    return
  }
  const [index, ...path] = issue.path
  const where = typeof index === 'number' ? `${what} ${index + 1}` : `${what}s`
  const field = path.length === 0 ? '' : `: ${path.join('.')}`
  throw new ShadowError('invalid_request', `${where}${field}: ${issue.message}.`, {
    hint: 'A row is { text }, or { messages, loss } with a weight for each message.',
  })
}

/** Newest first. */
export function listTrainings({ home }: Pick<Workspace, 'home'>): TrainingRun[] {
  return new RunRegistry(home).list()
}

/** Removes a training with its checkpoints and its adapter. @throws ShadowError not_found | invalid_request */
export function deleteTraining({ home }: Pick<Workspace, 'home'>, id: string): void {
  new RunRegistry(home).delete(id)
}

/**
 * Checkpoints of a folder, Shadow's or others', and what a training of `steps` steps would do with them.
 * @param steps null: as the folder's run.json says
 * @throws ShadowError not_found
 */
export function inspectCheckpoints(
  folder: string,
  steps: number | null,
): { found: FoundCheckpoint[]; target: number | null; decision: ResumeDecision | null } {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true)
    throw new ShadowError('not_found', `There is no folder ${folder}.`)
  const found = findCheckpoints(folder)
  const recorded = existsSync(`${folder}/run.json`) ? TrainingRun.read(folder).record.totalSteps : 0
  const target = steps ?? (recorded > 0 ? recorded : null)
  // Its own checkpoints hold the whole state: it goes on from the newest whatever stands beside them.
  const decision = target === null || stepsIn(folder).length > 0 ? null : decideResume(found, target)
  return { found, target, decision }
}
