/** Removes what was made of calls that are no longer there: verdicts, datasets, reports and, if asked, models. */
import { existsSync } from 'node:fs'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { formatVersion } from '../contract/route.ts'
import type { ModelVersion } from '../contract/run.ts'
import type { CaptureReader } from '../store/capture/index.ts'
import { takeLock } from '../store/process-lock.ts'
import { changeRoute } from './route.ts'
import { runLockPath } from './run/run.ts'
import { openCaptured, type Workspace } from './workspace.ts'

export interface SweptDerived {
  verdicts: number
  /** Folders of finished stages and of work under way. */
  folders: number
  /** Versions that were trained on what is gone, and whether they are gone too. */
  versions: { name: string; isRetired: boolean }[]
  /** Tasks with a run under way, which were left alone. */
  busy: string[]
}

const callIds = z.array(z.string())

/** Decides by what is there now, so that doing it again, or once more after a crash, is safe. */
export async function sweepDerived(
  workspace: Workspace,
  tasks: readonly string[],
  isCascading: boolean,
): Promise<SweptDerived> {
  const swept: SweptDerived = { verdicts: 0, folders: 0, versions: [], busy: [] }
  await using captured = await openCaptured(workspace)
  for (const task of tasks) {
    using lock = takeLock(runLockPath(workspace, task))
    if (lock === null) swept.busy.push(task)
    else await sweepTask(workspace, captured.reader, { task, isCascading }, swept)
  }
  return swept
}

async function sweepTask(
  workspace: Workspace,
  reader: CaptureReader | null,
  { task, isCascading }: { task: string; isCascading: boolean },
  swept: SweptDerived,
): Promise<void> {
  const { pipeline, home } = workspace
  const gone: string[] = []
  for (const { id, promptNode, scores } of await pipeline.verdicts.list(task)) {
    if ((await reader?.hasNodes([promptNode, ...Object.keys(scores)])) !== true) gone.push(id)
  }
  await pipeline.verdicts.remove(gone)
  swept.verdicts += gone.length

  const collects = await lostCollects(workspace, reader, task)
  if (collects.length === 0) return
  const { runs, stages } = await pipeline.stages.lineage(collects)
  const versions = (await pipeline.versions.list(task)).filter(({ adapterPath }) =>
    stages.some((stage) => stage.name === 'train' && adapterPath.includes(folderName(stage))),
  )
  for (const version of versions) await sourceDeleted(workspace, version, isCascading, swept)
  for (const stage of stages) {
    const folder = join(home, 'artifacts', task, folderName(stage))
    for (const path of [`${folder}.partial`, join(home, 'work', task, folderName(stage))]) {
      await removeFolder(path, swept)
    }
    if (versions.length > 0 && !isCascading) {
      // The ids of the calls stay: by them a later deletion knows the versions that it concerns.
      if (stage.name === 'collect') continue
      if (stage.name === 'train') {
        await keepAdapterOnly(folder)
        continue
      }
    }
    await removeFolder(folder, swept)
    await pipeline.stages.forget(stage.key)
  }
  for (const run of runs) await pipeline.runs.update(run, { reportPath: null })
}

function folderName({ name, key }: { name: string; key: string }): string {
  return `${name}-${key.slice(0, 16)}`
}

async function removeFolder(path: string, swept: SweptDerived): Promise<void> {
  if (!existsSync(path)) return
  await rm(path, { recursive: true })
  swept.folders++
}

/** Keys of the collect stages with a call that is gone. */
async function lostCollects(
  { pipeline, home }: Workspace,
  reader: CaptureReader | null,
  task: string,
): Promise<string[]> {
  const lost: string[] = []
  for (const stage of await pipeline.stages.list('collect')) {
    if (stage.task !== task) continue
    const path = join(home, 'artifacts', task, folderName(stage), 'calls.json')
    // Without its list nothing says that it has nothing to do with what is gone.
    const ids = existsSync(path) ? callIds.parse(JSON.parse(await readFile(path, 'utf8'))) : null
    if (ids === null || (await reader?.hasCalls(ids)) !== true) lost.push(stage.key)
  }
  return lost
}

async function sourceDeleted(
  workspace: Workspace,
  { task, number }: ModelVersion,
  isRetired: boolean,
  swept: SweptDerived,
): Promise<void> {
  const { versions, routes } = workspace.pipeline
  const name = formatVersion(task, number)
  const isNews = await versions.sourceDeleted(task, number)
  if (isNews || isRetired) swept.versions.push({ name, isRetired })
  if (!isRetired) return
  const [current] = await routes.history(task, 1)
  if (current?.version === name) {
    const reason = `${name} is retired: calls that it was trained on were deleted`
    await changeRoute(workspace, task, { state: 'frontier', version: null, reason })
  }
  await versions.retire(task, number)
}

async function keepAdapterOnly(folder: string): Promise<void> {
  if (!existsSync(folder)) return
  for (const name of await readdir(folder)) {
    if (name !== 'adapter') await rm(join(folder, name), { recursive: true, force: true })
  }
}
