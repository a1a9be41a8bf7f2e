/** Base models and adapters by name. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { findModel, readAdapterFolder } from '../engine/index.ts'
import { ggufAdapterAt } from '../engine/io/gguf-lora.ts'
import { ShadowError } from '../lib/error.ts'
import { defaultModelName } from '../setup/model.mjs'
import type { Workspace } from './workspace.ts'

export { findModel as findBaseModel, listModels } from '../engine/index.ts'

/** A base model, with an adapter or without. */
export interface ModelTarget {
  readonly basePath: string
  readonly adapterFolder: string | null
}

/**
 * What a name on the command line stands for: `X@3` or `owned/X@3`, `owned/X` for the newest version, an adapter's
 * folder (its base is the one that its config names) or a GGUF LoRA (whose base has to be named), a training's folder or its id, or a base model.
 * @param base instead of the base that the adapter names
 * @throws ShadowError not_found | invalid_file | missing_base when an adapter's base is unknown
 */
export async function resolveTarget(
  workspace: Workspace,
  target: string,
  base?: string,
): Promise<ModelTarget> {
  const [, owned, task, number] =
    /^(owned\/)?([a-z0-9][a-z0-9._-]{0,63})(?:@([1-9][0-9]*))?$/.exec(target) ?? []
  if (task !== undefined && (owned ?? number) !== undefined && !existsSync(target)) {
    const wanted = number ?? (await newestNumber(workspace, task))
    const version = await workspace.pipeline.versions.find(task, Number(wanted))
    if (version !== null)
      return {
        basePath: findModel(base ?? version.baseModel),
        adapterFolder: join(workspace.home, version.adapterPath),
      }
    const known = (await workspace.pipeline.versions.list(null)).map((one) => `${one.task}@${one.number}`)
    throw new ShadowError('not_found', `There is no model version ${target}.`, {
      hint: known.length === 0 ? 'No run has finished yet.' : `There are: ${known.join(', ')}.`,
    })
  }
  const folder = trainedIn(workspace.home, target) ?? target
  if (!isAdapterFolder(folder) && ggufAdapterAt(folder) === undefined)
    return { basePath: findModel(folder), adapterFolder: null }
  return { basePath: adapterBase(folder, base), adapterFolder: folder }
}

/**
 * What a training left, given its folder or its id: an adapter, or a model where all of the base was trained.
 * @returns undefined for what is no training
 * @throws ShadowError not_found for one that has not finished
 */
function trainedIn(home: string, target: string): string | undefined {
  const training = [target, join(home, 'runs', target)].find((path) => existsSync(join(path, 'run.json')))
  if (training === undefined) return undefined
  const trained = ['adapter', 'model'].map((name) => join(training, name)).find((path) => existsSync(path))
  if (trained !== undefined) return trained
  throw new ShadowError('not_found', `The training ${target} has no adapter yet.`, {
    hint: 'It was stopped or failed: the same training goes on from its last checkpoint.',
  })
}

/** @throws ShadowError not_found */
async function newestNumber(workspace: Workspace, task: string): Promise<number> {
  const [newest] = await workspace.pipeline.versions.list(task)
  if (newest !== undefined) return newest.number
  throw new ShadowError('not_found', `Task ${task} has no owned model yet.`, {
    hint: `Make one with \`shadow run --task ${task}\`.`,
  })
}

/** Whether a path is a folder with an adapter in PEFT's or mlx-lm's format, which names its base. */
export function isAdapterFolder(path: string): boolean {
  return existsSync(join(path, 'adapter_config.json'))
}

const nameTheBase = 'Name the base model with -m.'

function adapterBase(folder: string, base: string | undefined): string {
  if (base !== undefined) return findModel(base)
  if (!isAdapterFolder(folder))
    throw new ShadowError('missing_base', `${folder} does not say which base model it is for.`, {
      hint: nameTheBase,
    })
  const { config } = readAdapterFolder(folder)
  const named = config.base_model_name_or_path ?? config['base_model'] ?? config['model']
  if (typeof named === 'string' && isHere(named)) return findModel(named)
  throw new ShadowError(
    'missing_base',
    typeof named === 'string'
      ? `The adapter in ${folder} was trained on ${named}, which is not here.`
      : `The adapter in ${folder} does not say which base model it was trained on.`,
    { hint: nameTheBase },
  )
}

function isHere(name: string): boolean {
  if (name === defaultModelName) return true
  try {
    return findModel(name) !== ''
  } catch {
    return false
  }
}
