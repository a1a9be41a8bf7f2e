/** Gathers what the stages found into the report's data. */
import { join } from 'node:path'
import type { GateDecision } from '../../contract/evaluation.ts'
import { isTrainMetric, readMetricRecords } from '../../../trainers/metric-log.ts'
import type { RunReport } from '../report/report.ts'
import type { Collected } from './collect.ts'
import type { DatasetOutput } from './dataset.ts'
import { type EvaluateOutput, readEvaluated } from './evaluate.ts'
import type { JudgeOutput } from './judge.ts'
import type { RunContext } from './run-context.ts'
import type { StageResult, StageRunner } from './stage.ts'
import type { TrainOutput } from './train.ts'

/** The finished stages that the last one looks back on. */
export interface Stages {
  collected: StageResult<Collected>
  judged: StageResult<JudgeOutput>
  dataset: StageResult<DatasetOutput>
  trained: StageResult<TrainOutput>
  evaluated: StageResult<EvaluateOutput>
  gated: StageResult<GateDecision>
}

export async function assembleReport(
  context: RunContext,
  runner: StageRunner,
  stages: Stages,
  version: string,
): Promise<RunReport> {
  const { config, name } = context.task
  const { rows, evaluation } = await readEvaluated(stages.evaluated)
  const metrics = readMetricRecords(join(stages.trained.folder, 'metrics.ndjson')).filter(isTrainMetric)
  return {
    task: name,
    version,
    decision: stages.gated.output,
    evaluation,
    rows,
    metrics,
    stages: runner.reports.map(({ name: stage, tookMs, reused, facts }) => ({
      name: stage,
      tookMs,
      reused,
      facts,
    })),
    notes: notesOf(context, stages),
    models: {
      base: config.baseModel,
      frontier: frontierNames(context),
      judge: config.judge?.model ?? null,
    },
    createdAt: Date.now(),
  }
}

/** What a reader must know to weigh the verdict. */
function notesOf(context: RunContext, { dataset, judged, trained, evaluated }: Stages): string[] {
  const { heldOutRows, importedReferences, counts } = dataset.output
  const notes: string[] = []
  if (context.task.config.judge === null) {
    notes.push('No judge is set, so every complete answer was kept for training.')
  }
  if (importedReferences === 0) {
    notes.push(
      'No references were imported, so the first captured reply to a request counts as its right answer.',
    )
  } else if (importedReferences < heldOutRows) {
    notes.push(
      `${heldOutRows - importedReferences} of ${heldOutRows} held-out calls have no imported reference; their first captured reply counts as right.`,
    )
  }
  if (judged.output.unread > 0) {
    notes.push(
      `The judge gave no readable score for ${judged.output.unread} groups; their answers were not learnt from.`,
    )
  }
  const untrainable = counts['untrainable'] ?? 0
  if (untrainable > 0)
    notes.push(`${untrainable} replies were cut, refused or stopped by length, and no targets.`)
  notes.push(...trained.output.notes.map((note) => `Training: ${note}.`))
  const { unanswered } = evaluated.output
  if (unanswered > 0) {
    notes.push(
      `The owned server refused ${unanswered} held-out calls (too long for its context, or asking for what it can't do); they count as wrong, while live the frontier would answer them.`,
    )
  }
  return notes
}

function frontierNames({ calls }: RunContext): string {
  const names = new Set(calls.map((call) => call.modelAnswered ?? call.modelAsked))
  return [...names].toSorted().join(', ')
}
