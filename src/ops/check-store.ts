/** `shadow doctor --store`: everything that a home holds, compared with what it was when it was written. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { formatVersion } from '../contract/route.ts'
import type { StoreCheck } from '../contract/store-report.ts'
import { dialects } from '../dialects/index.ts'
import { hashFile, hashFolder } from '../lib/files.ts'
import { shadowHome } from '../setup/paths.mjs'
import { checkCapture } from '../store/capture/index.ts'
import { Findings } from '../store/check-file.ts'
import { checkPipeline } from '../store/pipeline/check.ts'
import { datasetFiles } from './run/dataset.ts'
import { openWorkspace } from './workspace.ts'

/**
 * Changes nothing, also where a server runs.
 * @throws ShadowError store_failed when a newer version of Shadow wrote the store
 */
export async function checkStore(): Promise<StoreCheck[]> {
  const home = shadowHome()
  const files = [...checkCapture(home, dialects), ...checkPipeline(home)]
  const canOpen = existsSync(join(home, 'pipeline.db')) && files.every(({ damaged }) => damaged === 0)
  return canOpen ? [...files, ...(await checkArtifacts(home))] : files
}

async function checkArtifacts(home: string): Promise<StoreCheck[]> {
  await using workspace = await openWorkspace()
  const { versions, stages } = workspace.pipeline
  const adapters = new Findings('adapters of model versions')
  for (const version of await versions.list(null)) {
    adapters.checked++
    const name = formatVersion(version.task, version.number)
    const folder = join(home, version.adapterPath)
    if (!existsSync(folder)) adapters.add(`The adapter of ${name} is missing.`)
    else if ((await hashFolder(folder)) !== version.adapterHash)
      adapters.add(`The adapter of ${name} is damaged.`)
  }
  const datasets = new Findings('datasets')
  for (const { task, key, output } of await stages.list('dataset')) {
    const folder = join(home, 'artifacts', task, `dataset-${key.slice(0, 16)}`)
    // Files that somebody has removed are made again by the next run.
    if (!existsSync(folder)) continue
    for (const [name, hash] of datasetFiles(output)) {
      datasets.checked++
      const path = join(folder, name)
      if (!existsSync(path) || (await hashFile(path)) !== hash) {
        datasets.add(`${path} is not what was written.`)
      }
    }
  }
  return [adapters.result(), datasets.result()]
}
