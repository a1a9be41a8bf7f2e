/**
 * Shadow as a library: the same operations as the commands. The domain's types and schemas are at
 * `./contract`, the engine on its own is at `./engine`.
 */
export { ShadowError } from '../lib/error.ts'
export { createApi } from '../http/api.ts'
export { listCalls, requestBytes, showCall } from '../ops/calls.ts'
export { type DeletionReport, deleteCaptured, planDeletion } from '../ops/deletion.ts'
export { type ExportOptions, exportTarget } from '../ops/export.ts'
export { findBaseModel, listModels } from '../ops/models.ts'
export type { ProgressSink, StageProgress } from '../ops/progress.ts'
export { type PullOptions, pullModel, removeModel } from '../ops/pull/pull.ts'
export { importReferences } from '../ops/references.ts'
export { changeRoute, newestVersion, routeHistory } from '../ops/route.ts'
export { planRun, type RunPlan } from '../ops/run/plan.ts'
export { type RunOptions, type RunResult, run } from '../ops/run/run.ts'
export { listSessions, showSession } from '../ops/sessions.ts'
export { type RunningServer, type ServeOptions, serve } from '../ops/serve.ts'
export { type CallExport, exportCalls } from '../ops/transfer/export-calls.ts'
export { importCalls } from '../ops/transfer/import-calls.ts'
export { listTasks, setTask, showTask, type TaskSummary } from '../ops/tasks.ts'
export {
  deleteTraining,
  inspectCheckpoints,
  listTrainings,
  type TrainingRequest,
  trainRows,
} from '../ops/trainings.ts'
export { openWorkspace, type Workspace } from '../ops/workspace.ts'
