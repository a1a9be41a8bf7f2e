/** `shadow run --task X`: the whole way from captured calls to a decision, stage by stage. */
import { join } from 'node:path'
import { ulid } from 'ulid'
import type { Evaluation, GateDecision, StageName } from '../../contract/index.ts'
import { messageOf, ShadowError } from '../../lib/error.ts'
import { type ProcessLock, takeLock } from '../../store/process-lock.ts'
import type { ProgressSink } from '../progress.ts'
import type { Workspace } from '../workspace.ts'
import { collect } from './collect.ts'
import { dataset } from './dataset.ts'
import { evaluate } from './evaluate.ts'
import { gate } from './gate.ts'
import { group } from './group.ts'
import { judge } from './judge.ts'
import { promote, reportFiles } from './promote.ts'
import { RunContext } from './run-context.ts'
import { split } from './split.ts'
import { type StageReport, StageRunner } from './stage.ts'
import { train } from './train.ts'

export interface RunOptions {
  task: string
  /** The last stage to run. */
  until: StageName
  progress: ProgressSink
  signal: AbortSignal
}

export interface RunResult {
  runId: string
  stages: readonly StageReport[]
  /** Null when `until` came before the stage that makes it. */
  datasetFolder: string | null
  trainFolder: string | null
  evaluation: Evaluation | null
  heldOutPath: string | null
  decision: GateDecision | null
  version: string | null
  promoted: boolean
  reportHtml: string | null
  reportMarkdown: string | null
}

/** @throws ShadowError unknown_task | no_calls | busy | whatever a stage throws; a rerun goes on from there */
export async function run(workspace: Workspace, options: RunOptions): Promise<RunResult> {
  const context = await RunContext.open(workspace, options.task, options.signal)
  using _lock = await lockTask(workspace, options.task)
  const runId = ulid()
  await workspace.pipeline.runs.start({ id: runId, task: options.task, stage: 'collect', pid: process.pid })
  const stages = new StageRunner({
    run: runId,
    task: options.task,
    home: workspace.home,
    pipeline: workspace.pipeline,
    progress: options.progress,
  })
  const result: RunResult = {
    runId,
    stages: stages.reports,
    datasetFolder: null,
    trainFolder: null,
    evaluation: null,
    heldOutPath: null,
    decision: null,
    version: null,
    promoted: false,
    reportHtml: null,
    reportMarkdown: null,
  }
  try {
    await runStages(context, stages, options.until, result)
    await workspace.pipeline.runs.update(runId, {
      state: 'succeeded',
      finishedAt: Date.now(),
      version: result.version,
      reportPath: result.reportHtml,
    })
    return result
  } catch (error) {
    await workspace.pipeline.runs.update(runId, {
      state: options.signal.aborted ? 'stopped' : 'failed',
      finishedAt: Date.now(),
      error: messageOf(error),
    })
    if (options.signal.aborted && !(error instanceof ShadowError)) {
      throw new ShadowError('busy', 'Stopped.', {
        hint: 'The same command goes on from there.',
        cause: error,
      })
    }
    throw error
  }
}

async function runStages(
  context: RunContext,
  stages: StageRunner,
  until: StageName,
  result: RunResult,
): Promise<void> {
  const collected = await collect(context, stages)
  if (until === 'collect') return
  const divided = await split(context, stages, collected)
  if (until === 'split') return
  const grouped = await group(context, stages, divided)
  if (until === 'group') return
  const judged = await judge(context, stages, { split: divided, grouped })
  if (until === 'judge') return
  const rows = await dataset(context, stages, { split: divided, judged })
  result.datasetFolder = rows.folder
  if (until === 'dataset') return
  const trained = await train(context, stages, rows)
  result.trainFolder = trained.folder
  if (until === 'train') return
  const evaluated = await evaluate(context, stages, { dataset: rows, trained })
  result.evaluation = evaluated.output.evaluation
  result.heldOutPath = join(evaluated.folder, 'held-out.jsonl')
  if (until === 'evaluate') return
  const gated = await gate(context, stages, evaluated)
  result.decision = gated.output
  if (until === 'gate') return
  const promoted = await promote(context, stages, {
    collected,
    judged,
    dataset: rows,
    trained,
    evaluated,
    gated,
  })
  result.version = promoted.output.version
  result.promoted = promoted.output.promoted
  result.reportHtml = join(promoted.folder, reportFiles.html)
  result.reportMarkdown = join(promoted.folder, reportFiles.markdown)
}

/** The lock that a run of the task holds. */
export function runLockPath({ home }: Pick<Workspace, 'home'>, task: string): string {
  return join(home, 'locks', `run-${task}.lock`)
}

/** Two runs of one task would write into each other's folders. @throws ShadowError busy */
async function lockTask(workspace: Workspace, task: string): Promise<ProcessLock> {
  const lock = takeLock(runLockPath(workspace, task))
  if (lock === null) {
    throw new ShadowError('busy', `Task ${task} has a run under way.`, {
      hint: 'Wait for it, or stop it with Ctrl-C; what it has finished is kept.',
    })
  }
  // Whoever says it runs without holding the lock was killed.
  for (const { id } of await workspace.pipeline.runs.running(task)) {
    const error = 'its process was killed'
    await workspace.pipeline.runs.update(id, { state: 'failed', finishedAt: Date.now(), error })
  }
  return lock
}
