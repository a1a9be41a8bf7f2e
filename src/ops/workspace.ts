/** What every operation works in: the user's home folder and the pipeline store. */
import { existsSync } from 'node:fs'
import type { Task } from '../contract/task.ts'
import { defaultTask, taskConfig } from '../contract/task.ts'
import { dialects } from '../dialects/index.ts'
import { ShadowError } from '../lib/error.ts'
import { cacheDir, shadowHome } from '../setup/paths.mjs'
import { type CaptureReader, capturePath, openCaptureReader } from '../store/capture/index.ts'
import { openPipelineStore, type PipelineStore } from '../store/pipeline/pipeline-store.ts'

export interface Workspace extends AsyncDisposable {
  /** SHADOW_HOME, absolute. */
  readonly home: string
  /** Engine parts and models. */
  readonly cache: string
  readonly pipeline: PipelineStore
}

/** @throws ShadowError store_failed */
export async function openWorkspace(): Promise<Workspace> {
  const home = shadowHome()
  const pipeline = await openPipelineStore(home)
  return {
    home,
    cache: cacheDir(),
    pipeline,
    async [Symbol.asyncDispose]() {
      await pipeline.close()
    },
  }
}

/** What has been captured; `reader` is null when nothing ever was. */
export interface Captured extends AsyncDisposable {
  readonly reader: CaptureReader | null
}

/** Opens what has been captured for reading, while a server may be writing. */
export async function openCaptured(workspace: Workspace): Promise<Captured> {
  const reader = existsSync(capturePath(workspace.home))
    ? await openCaptureReader(workspace.home, dialects)
    : null
  return {
    reader,
    async [Symbol.asyncDispose]() {
      await reader?.close()
    },
  }
}

/**
 * A task by name. It exists once it was set or called; until it is set it has the defaults.
 * @throws ShadowError unknown_task
 */
export async function requireTask(workspace: Workspace, { reader }: Captured, name: string): Promise<Task> {
  const set = await workspace.pipeline.tasks.find(name)
  if (set !== null) return set
  const called = (await reader?.listTasks()) ?? []
  if (called.includes(name)) return { name, createdAt: 0, config: taskConfig.parse({}) }
  const known = new Set([...(await workspace.pipeline.tasks.list()).map((task) => task.name), ...called])
  throw new ShadowError('unknown_task', `There is no task "${name}".`, {
    hint:
      known.size === 0
        ? `Nothing has been captured yet: run \`shadow serve\`, point OPENAI_BASE_URL at it (its calls are task "${defaultTask}" unless the URL says /tasks/${name}/v1), or create the task with \`shadow tasks set ${name}\`.`
        : `Known tasks: ${[...known].toSorted().join(', ')}. \`shadow tasks set ${name}\` creates it.`,
  })
}
