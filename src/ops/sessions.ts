/** Showing the sessions that calls belong to. */
import type { SessionSummary, SessionTree } from '../contract/session.ts'
import { ShadowError } from '../lib/error.ts'
import { openCaptured, requireTask, type Workspace } from './workspace.ts'

/** By their first call, the newest first. @throws ShadowError unknown_task */
export async function listSessions(
  workspace: Workspace,
  options: { task: string | null; limit: number },
): Promise<SessionSummary[]> {
  await using captured = await openCaptured(workspace)
  if (options.task !== null) await requireTask(workspace, captured, options.task)
  const sessions = (await captured.reader?.listSessions(options.task ?? undefined)) ?? []
  return sessions.toReversed().slice(0, options.limit)
}

/**
 * @param session its id, or what the agent called it
 * @throws ShadowError not_found; conflict where several sessions go by the name
 */
export async function showSession(workspace: Workspace, session: string): Promise<SessionTree> {
  await using captured = await openCaptured(workspace)
  if (captured.reader === null) throw nothingCaptured()
  return await captured.reader.sessionTree(session)
}

/**
 * @param session its id, or what the agent called it
 * @throws ShadowError not_found; conflict where several sessions go by the name
 */
export async function findSession(workspace: Workspace, session: string): Promise<SessionSummary> {
  await using captured = await openCaptured(workspace)
  if (captured.reader === null) throw nothingCaptured()
  return await captured.reader.findSession(session)
}

function nothingCaptured(): ShadowError {
  return new ShadowError('not_found', 'Nothing has been captured yet.', {
    hint: 'Start `shadow serve` and point an agent at it.',
  })
}
