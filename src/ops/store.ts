/** Showing and setting what is decided about the store. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type StoreConfig, storeConfig } from '../contract/store-config.ts'
import { applyTo } from './task-settings.ts'
import { openCaptured, type Workspace } from './workspace.ts'

export interface StoreSummary {
  config: StoreConfig
  calls: number
  sessions: number
  /** Of capture.db, its log and its journal. */
  bytesOnDisk: number
  /** Of messages, tools and large values, each counted once. */
  uniqueBytes: number
}

export async function showStore(workspace: Workspace): Promise<StoreSummary> {
  await using captured = await openCaptured(workspace)
  const stats = await captured.reader?.stats()
  return {
    config: await workspace.pipeline.settings.store(),
    calls: stats?.calls ?? 0,
    sessions: stats?.sessions ?? 0,
    bytesOnDisk: bytesOf(workspace.home),
    uniqueBytes: stats?.uniqueBytes ?? 0,
  }
}

/** @throws ShadowError invalid_config naming the key */
export async function setStore({ pipeline }: Workspace, settings: readonly string[]): Promise<void> {
  const changed = applyTo(
    storeConfig,
    await pipeline.settings.store(),
    settings,
    'See `shadow store` for the keys.',
  )
  await pipeline.settings.saveStore(changed)
}

function bytesOf(home: string): number {
  const journal = join(home, 'capture.journal')
  const segments = existsSync(journal) ? readdirSync(journal).map((name) => join(journal, name)) : []
  return ['capture.db', 'capture.db-wal']
    .map((name) => join(home, name))
    .concat(segments)
    .reduce((sum, path) => sum + (statSync(path, { throwIfNoEntry: false })?.size ?? 0), 0)
}
