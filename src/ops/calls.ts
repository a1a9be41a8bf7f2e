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
  return (
    (await captured.reader?.listCalls({
      ...(options.task === null ? {} : { task: options.task }),
      ...(Number.isFinite(options.limit) ? { limit: options.limit } : {}),
    })) ?? []
  )
}

/** @throws ShadowError not_found */
export async function showCall(workspace: Workspace, id: string): Promise<CapturedCall> {
  await using captured = await openCaptured(workspace)
  if (captured.reader === null) throw nothingCaptured()
  return await captured.reader.readCall(id)
}

/** The request body as it came. @throws ShadowError not_found */
export async function requestBytes(workspace: Workspace, id: string): Promise<Uint8Array> {
  await using captured = await openCaptured(workspace)
  if (captured.reader === null) throw nothingCaptured()
  return await captured.reader.requestBytes(id)
}

function nothingCaptured(): ShadowError {
  return new ShadowError('not_found', 'Nothing has been captured yet.', {
    hint: 'Start `shadow serve` and point an agent at it.',
  })
}
