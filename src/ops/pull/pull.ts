/** `shadow models pull`: a base model from a hub, or from this machine, into the cache. */
import { constants, existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { copyFile, mkdir, rename, rm, statfs } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { describe, loadText, type LocalModel, modelsFolder, pulledFolder } from '../../engine/index.ts'
import { ShadowError } from '../../lib/error.ts'
import { formatBytes } from '../../setup/progress.mjs'
import { withLock } from '../../setup/lock.mjs'
import { privateDir } from '../../setup/paths.mjs'
import type { ProgressSink } from '../progress.ts'
import { chooseFiles } from './choose-files.ts'
import { fetchFile } from './fetch-file.ts'
import { type HubFile, openHubModel } from './hub.ts'

export interface PullOptions {
  /** `owner/name`, `owner/name/file.gguf`, or the path of a GGUF file or of a Hugging Face folder. */
  source: string
  /** What it is called here. Default: its hub id, or its file's name. */
  name?: string | undefined
  progress: ProgressSink
  /** Aborting keeps what has come so far; the next pull goes on from there. */
  signal: AbortSignal
  /** Default: the process's own. `HF_ENDPOINT` and `HF_TOKEN` are read. */
  env?: NodeJS.ProcessEnv
}

const hubId = /^([\w][\w.-]*\/[\w][\w.-]*)(?:\/([\w][\w.+-]*\.gguf))?$/
const localName = /^[\w][\w.-]{0,95}(?:\/[\w][\w.-]{0,95})?$/

/**
 * @returns the model as it is here
 * @throws ShadowError `not_found`, `missing_key`, `missing_prerequisite` for a disk that is too full, `conflict` for a
 *   name that is taken, `invalid_file` for a model that cannot be used
 */
export async function pullModel(options: PullOptions): Promise<LocalModel> {
  const { source, name } = options
  if (name !== undefined && !localName.test(name))
    throw new ShadowError('invalid_request', `"${name}" is no name for a model.`, {
      hint: 'Use letters, digits, dots, dashes, and one slash at most.',
    })
  if (existsSync(source)) return await importModel(source, name ?? nameOf(source))
  const [, id, file] = hubId.exec(source) ?? []
  if (id === undefined || id.includes('..'))
    throw new ShadowError('not_found', `${source} is neither a path nor a model of a hub.`, {
      hint: 'Name it owner/name, or owner/name/file.gguf.',
    })
  return await withLock(lockName(name ?? id), () => pullFromHub(options, id, file ?? null))
}

async function pullFromHub(options: PullOptions, id: string, wanted: string | null): Promise<LocalModel> {
  const { progress, signal, env = process.env } = options
  const name = options.name ?? id
  const model = await openHubModel(id, env, signal)
  const files = chooseFiles(id, model.files, wanted)
  // A model that changed on the hub is fetched anew; files of two commits do not go together.
  const partial = join(
    privateDir(join(modelsFolder(), '.partial')),
    `${lockName(name)}@${model.revision.slice(0, 12)}`,
  )
  await mkdir(partial, { recursive: true, mode: 0o700 })
  await checkSpace(files, partial)
  const started = performance.now()
  const total = files.reduce((sum, file) => sum + file.bytes, 0)
  const stage = progress.begin('pull')
  let before = 0
  for (const file of files) {
    await fetchFile({
      model,
      file,
      path: join(partial, file.name),
      signal,
      onBytes: (bytes) => stage.update(megabytes(before + bytes), megabytes(total), `MB  ${file.name}`),
    })
    before += file.bytes
  }
  progress.end('pull', {
    tookMs: performance.now() - started,
    reused: false,
    facts: { files: files.length, size: formatBytes(total) },
  })
  return await install(partial, name, wanted ?? onlyGguf(files))
}

function onlyGguf(files: readonly HubFile[]): string | null {
  const [only] = files
  return files.length === 1 && only?.name.endsWith('.gguf') === true ? only.name : null
}

/** Copies a model that lies somewhere else. */
async function importModel(source: string, name: string): Promise<LocalModel> {
  if (!localName.test(name))
    throw new ShadowError('invalid_request', `"${name}" is no name for a model.`, {
      hint: 'Give it one with --name.',
    })
  const found = describe(name, source)
  if (found.problem !== null) throw new ShadowError('invalid_file', found.problem)
  const isFolder = statSync(source).isDirectory()
  // Files of Hugging Face's own cache are links.
  const present = (isFolder ? readdirSync(source).map((entry) => join(source, entry)) : [source])
    .filter((path) => statSync(path).isFile())
    .map((path) => ({ name: basename(path), bytes: statSync(path).size, checksum: null }))
  const files = isFolder ? chooseFiles(source, present, null) : present
  const partial = join(privateDir(join(modelsFolder(), '.partial')), `${lockName(name)}@local`)
  await rm(partial, { recursive: true, force: true })
  await mkdir(partial, { mode: 0o700 })
  await checkSpace(files, partial)
  for (const file of files)
    await copyFile(
      isFolder ? join(source, file.name) : source,
      join(partial, file.name),
      constants.COPYFILE_FICLONE,
    )
  return await install(partial, name, isFolder ? null : basename(source))
}

/** Moves what has come into its place, in one step, once it is known to be a model. */
async function install(partial: string, name: string, file: string | null): Promise<LocalModel> {
  const path = file === null ? partial : join(partial, file)
  try {
    const { problem } = describe(name, path)
    if (problem !== null) throw new ShadowError('invalid_file', problem)
    loadText(path)
  } catch (thrown) {
    await rm(partial, { recursive: true })
    if (!(thrown instanceof ShadowError)) throw thrown
    const hint = thrown.hint ?? 'Choose another model.'
    throw new ShadowError('invalid_file', thrown.message.replaceAll(partial, name), { hint, cause: thrown })
  }
  const folder = pulledFolder(name)
  if (file !== null && existsSync(folder) && !existsSync(join(folder, 'config.json'))) {
    // A further file of a model of several.
    await rename(path, join(folder, file))
    await rm(partial, { recursive: true })
  } else {
    await rm(folder, { recursive: true, force: true })
    await rename(partial, folder)
  }
  return describe(name, file === null ? folder : join(folder, file))
}

/**
 * Removes a model from the cache; one that is not there is an error.
 * @returns bytes that became free
 * @throws ShadowError `not_found`
 */
export function removeModel(models: readonly LocalModel[], name: string): number {
  const [model, ...more] = models.filter((one) => one.name === name || one.name.startsWith(`${name}/`))
  if (model === undefined)
    throw new ShadowError('not_found', `There is no model "${name}" in ${modelsFolder()}.`, {
      hint:
        models.length === 0
          ? 'There is none at all.'
          : `There are: ${models.map((one) => one.name).join(', ')}.`,
    })
  const all = [model, ...more]
  for (const { path } of all) rmSync(path, { recursive: true })
  const folder = pulledFolder(name)
  if (existsSync(folder) && readdirSync(folder).length === 0) rmSync(folder, { recursive: true })
  return all.reduce((sum, { bytes }) => sum + bytes, 0)
}

/** @throws ShadowError `missing_prerequisite` */
async function checkSpace(files: readonly Pick<HubFile, 'name' | 'bytes'>[], folder: string): Promise<void> {
  const missing = files.reduce((sum, { name, bytes }) => {
    const there = statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0
    return sum + Math.max(0, bytes - there)
  }, 0)
  const { bavail, bsize } = await statfs(folder)
  if (missing <= bavail * bsize) return
  throw new ShadowError(
    'missing_prerequisite',
    `The model needs ${formatBytes(missing)}, and ${formatBytes(bavail * bsize)} are free in ${modelsFolder()}.`,
    { hint: 'Free some space, `shadow models remove` one, or set SHADOW_CACHE to a larger disk.' },
  )
}

function nameOf(source: string): string {
  return basename(source).replace(/\.gguf$/i, '')
}

function lockName(name: string): string {
  return basename(pulledFolder(name))
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 1e5) / 10
}
