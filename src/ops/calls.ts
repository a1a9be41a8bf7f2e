/** Showing what was captured. */
import type { CallSummary, CapturedCall } from '../contract/call.ts'
import { ShadowError } from '../lib/error.ts'
import { openCaptured, requireTask, type Workspace } from './workspace.ts'

/** Newest first. @throws ShadowError unknown_task */
export async function listCalls(
  workspace: Workspace,
  options: { task: string | null; limit: number },
): Promise<CallSummary[]> {
  await using captured = await openCaptured(workspace)
  if (options.task !== null) await requireTask(workspace, captured, options.task)
  if (captured === null) return []
  return await captured.listCalls({
    ...(options.task === null ? {} : { task: options.task }),
    limit: options.limit,
    order: 'newest',
  })
}

/** @throws ShadowError not_found */
export async function showCall(workspace: Workspace, id: string): Promise<CapturedCall> {
  await using captured = await openCaptured(workspace)
  const call = await captured?.readCall(id)
  return call ?? missing(id)
}

/** The request body as it came. @throws ShadowError not_found */
export async function requestBytes(workspace: Workspace, id: string): Promise<Uint8Array> {
  await using captured = await openCaptured(workspace)
  const bytes = await captured?.requestBytes(id)
  return bytes ?? missing(id)
}

function missing(id: string): never {
  throw new ShadowError('not_found', `There is no call ${id}.`, { hint: '`shadow calls` lists them.' })
}
