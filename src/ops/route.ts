/** Showing and changing how a task is answered. */
import { ShadowClient } from '../client/client.ts'
import type { RouteChange } from '../contract/api.ts'
import type { Route } from '../contract/route.ts'
import { formatVersion } from '../contract/route.ts'
import { messageOf, ShadowError } from '../lib/error.ts'
import { findServer } from './server-file.ts'
import { openCaptured, requireTask, type Workspace } from './workspace.ts'

/**
 * Changes a route through the running server, which makes the version ready first, or in the store where
 * none runs.
 * @throws ShadowError engine_failed when the version could not be made ready; the route then stays as it was
 */
export async function changeRoute(workspace: Workspace, task: string, change: RouteChange): Promise<void> {
  const server = await findServer(workspace.home)
  if (server === null) {
    const { sourceKey, ...rest } = change
    await workspace.pipeline.routes.change({
      task,
      ...rest,
      ...(sourceKey === undefined ? {} : { sourceKey }),
    })
    return
  }
  try {
    await new ShadowClient(server).changeRoute(task, change)
  } catch (cause) {
    throw new ShadowError('engine_failed', `The server did not change the route: ${messageOf(cause)}`, {
      hint: 'The route is as it was. See the log of `shadow serve`.',
      cause,
    })
  }
}

/** The task's newest version. @throws ShadowError not_found when the task has none */
export async function newestVersion(workspace: Workspace, task: string): Promise<string> {
  const [newest] = await workspace.pipeline.versions.list(task)
  if (newest === undefined) {
    throw new ShadowError('not_found', `Task ${task} has no owned model yet.`, {
      hint: `Make one with \`shadow run --task ${task}\`.`,
    })
  }
  return formatVersion(newest.task, newest.number)
}

/** @throws ShadowError not_found when there is no such version */
export async function requireVersion(workspace: Workspace, task: string, name: string): Promise<string> {
  const versions = await workspace.pipeline.versions.list(task)
  const names = versions.map((version) => formatVersion(version.task, version.number))
  if (names.includes(name)) return name
  throw new ShadowError('not_found', `There is no version ${name}.`, {
    hint:
      names.length === 0 ? `Make one with \`shadow run --task ${task}\`.` : `There are ${names.join(', ')}.`,
  })
}

/** The task's latest changes of route, newest first. @throws ShadowError unknown_task */
export async function routeHistory(workspace: Workspace, task: string): Promise<Route[]> {
  await using captured = await openCaptured(workspace)
  await requireTask(workspace, captured, task)
  return await workspace.pipeline.routes.history(task, 10)
}
