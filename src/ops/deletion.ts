/** Deleting captured calls, wherever their writer is, and everything that was made of them. */
import { ShadowClient } from '../client/client.ts'
import type { CallSelection, DeletionPlan, DeletionResult } from '../contract/deletion.ts'
import type { RetentionRules } from '../contract/store-config.ts'
import { dialects } from '../dialects/index.ts'
import { openCaptureStore } from '../store/capture/index.ts'
import type { DeletionJob } from '../store/pipeline/deletions.ts'
import { findServer } from './server-file.ts'
import { type SweptDerived, sweepDerived } from './sweep-derived.ts'
import { openCaptured, type Workspace } from './workspace.ts'

/** The sole writer of captured traffic: this process's store, or the running server's. */
export interface Deleter {
  planDeletion(selection: CallSelection): Promise<DeletionPlan>
  delete(selection: CallSelection): Promise<DeletionResult>
  planRetention(rules: RetentionRules): Promise<DeletionPlan>
  retain(rules: RetentionRules): Promise<DeletionPlan>
}

export interface DeletionReport extends DeletionResult {
  readonly derived: SweptDerived
}

/**
 * What a deletion would take now.
 * @throws ShadowError busy when another process than a server writes to the home; store_failed
 */
export async function planDeletion(workspace: Workspace, selection: CallSelection): Promise<DeletionPlan> {
  return await withDeleter(workspace, (deleter) => deleter.planDeletion(selection))
}

/**
 * Deletes calls from the files, overwriting them, and what was derived from them: verdicts, datasets, reports, work
 * under way. Versions trained on them are named; with `isCascading` they are retired and their adapters removed.
 * Deletions that were killed before their end are gone on with first.
 * @throws ShadowError busy when another process than a server writes to the home; store_failed
 */
export async function deleteCaptured(
  workspace: Workspace,
  request: { selection: CallSelection; isCascading: boolean },
): Promise<DeletionReport> {
  return await withDeleter(workspace, async (deleter) => {
    await resumeDeletions(workspace, deleter)
    const job = await workspace.pipeline.deletions.start(request.selection, request.isCascading)
    return await perform(workspace, job, deleter)
  })
}

/** Goes on with deletions whose process was killed. */
export async function resumeDeletions(workspace: Workspace, deleter: Deleter): Promise<void> {
  for (const job of await workspace.pipeline.deletions.unfinished()) await perform(workspace, job, deleter)
}

async function perform(workspace: Workspace, job: DeletionJob, deleter: Deleter): Promise<DeletionReport> {
  const result = await deleter.delete(job.selection)
  // What was deleted before a crash is no longer known: every task may be concerned.
  const derived = await sweepDerived(workspace, await tasksOf(workspace), job.isCascading)
  if (derived.busy.length === 0) await workspace.pipeline.deletions.finish(job.id)
  workspace.pipeline.scrub()
  return { ...result, derived }
}

async function tasksOf(workspace: Workspace): Promise<string[]> {
  await using captured = await openCaptured(workspace)
  const called = (await captured.reader?.listTasks()) ?? []
  return [...new Set([...called, ...(await workspace.pipeline.stages.tasks())])]
}

/** @throws ShadowError busy when another process than a server writes to the home; store_failed */
export async function withDeleter<T>(
  workspace: Workspace,
  use: (deleter: Deleter) => Promise<T>,
): Promise<T> {
  const server = await findServer(workspace.home)
  if (server !== null) {
    const client = new ShadowClient(server)
    return await use({
      planDeletion: (selection) => client.planDeletion(selection),
      delete: (selection) => client.deleteCalls(selection),
      planRetention: (rules) => client.retain(rules, true),
      retain: (rules) => client.retain(rules, false),
    })
  }
  const store = await openCaptureStore(workspace.home, dialects)
  try {
    return await use(store)
  } finally {
    await store.close()
  }
}
