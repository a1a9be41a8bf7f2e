/** A workspace at a home of a test's own, in the test's own process. */
import { cacheDir } from '../../src/setup/paths.mjs'
import type { Workspace } from '../../src/ops/workspace.ts'
import { openPipelineStore } from '../../src/store/pipeline/pipeline-store.ts'

export async function workspaceAt(home: string): Promise<Workspace> {
  const pipeline = await openPipelineStore(home)
  return { home, cache: cacheDir(), pipeline, [Symbol.asyncDispose]: () => pipeline.close() }
}
