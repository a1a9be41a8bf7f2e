/** What a version stands on, checked against what was evaluated: what was evaluated is what serves. */
import { join } from 'node:path'
import { ShadowError } from '../../lib/error.ts'
import { hashFolder } from '../../lib/files.ts'
import { hashBaseModel } from '../base-hash.ts'
import { findBaseModel } from '../models.ts'
import type { Workspace } from '../workspace.ts'
import type { OwnedVersion } from './owned-server.ts'

const versionParts = /^owned\/(.+)@(\d+)$/

/**
 * @param name `owned/X@n`
 * @throws ShadowError not_found when there is no such version; invalid_file when its base or adapter is not the
 *   one that was evaluated
 */
export async function findVersion(workspace: Workspace, name: string): Promise<OwnedVersion> {
  const [, task = '', number = ''] = versionParts.exec(name) ?? []
  const version = await workspace.pipeline.versions.find(task, Number(number))
  if (version === null) {
    throw new ShadowError('not_found', `There is no version ${name}.`, {
      hint: '`shadow tasks` shows the newest version of each task.',
    })
  }
  const modelPath = findBaseModel(version.baseModel)
  const adapterPath = join(workspace.home, version.adapterPath)
  if ((await hashBaseModel(version.baseModel)) !== version.baseHash)
    throw changed(name, `base model ${modelPath}`)
  if ((await hashFolder(adapterPath).catch(() => '')) !== version.adapterHash) {
    throw changed(name, `adapter ${adapterPath}`)
  }
  return { modelPath, model: { name, adapterPath, policy: version.servePolicy } }
}

function changed(version: string, what: string): ShadowError {
  return new ShadowError(
    'invalid_file',
    `${version} is not served: its ${what} is not the one that was evaluated.`,
    {
      hint: `Put the file back, or make a new version with \`shadow run\`.`,
    },
  )
}
