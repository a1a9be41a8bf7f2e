/** Listing, showing and setting tasks. */
import { formatVersion } from '../contract/route.ts'
import { type Task, taskConfig } from '../contract/task.ts'
import { applySettings } from './task-settings.ts'
import { openCaptured, requireTask, type Workspace } from './workspace.ts'

export interface TaskSummary {
  name: string
  calls: number
  sessions: number
  /** `frontier`, or the version that answers. */
  route: string
  version: string | null
}

export async function listTasks(workspace: Workspace): Promise<TaskSummary[]> {
  await using captured = await openCaptured(workspace)
  const called = (await captured.reader?.listTasks()) ?? []
  const set = await workspace.pipeline.tasks.list()
  const routes = new Map((await workspace.pipeline.routes.current()).map((route) => [route.task, route]))
  const names = [...new Set([...called, ...set.map((task) => task.name)])].toSorted()
  return await Promise.all(
    names.map(async (name) => {
      const route = routes.get(name)
      const [newest] = await workspace.pipeline.versions.list(name)
      const sessions = (await captured.reader?.listSessions(name)) ?? []
      return {
        name,
        calls: sessions.reduce((sum, session) => sum + session.calls, 0),
        sessions: sessions.length,
        route: route?.version ?? 'frontier',
        version: newest === undefined ? null : formatVersion(newest.task, newest.number),
      }
    }),
  )
}

/** @throws ShadowError unknown_task */
export async function showTask(workspace: Workspace, name: string): Promise<Task> {
  await using captured = await openCaptured(workspace)
  return await requireTask(workspace, captured, name)
}

/** @throws ShadowError invalid_config naming the key */
export async function setTask(
  workspace: Workspace,
  name: string,
  settings: readonly string[],
): Promise<void> {
  const present = await workspace.pipeline.tasks.find(name)
  const config = applySettings(present?.config ?? taskConfig.parse({}), settings)
  await workspace.pipeline.tasks.save(name, config)
}
