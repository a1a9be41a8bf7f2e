/**
 * Base models on this machine: those in the cache's folder `models`, by name, and any other by its path. A pulled
 * model's folder is its hub id with `--` for `/`, as in Hugging Face's own cache.
 */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { messageOf, ShadowError } from '../lib/error.ts'
import { defaultModelName, defaultModelPath } from '../setup/model.mjs'
import { cacheDir } from '../setup/paths.mjs'
import { openModel } from './model-files.ts'

/** Where pulled models lie. */
export function modelsFolder(): string {
  return join(cacheDir(), 'models')
}

/** The folder of a hub model, whether or not it is there. `org/name` → `models/org--name`. */
export function pulledFolder(name: string): string {
  return join(modelsFolder(), name.replaceAll('/', '--'))
}

const modelName = /^[\w][\w.-]*(?:\/[\w][\w.-]*)?$/

/**
 * The file or folder of a base model.
 * @param name the default model's name, the name of a pulled model (its hub id, or `id/file.gguf` where a model has
 *   several), or a path
 * @throws ShadowError `not_found`, `missing_prerequisite` for the default model before it was fetched
 */
export function findModel(name: string): string {
  if (name === defaultModelName) {
    if (existsSync(defaultModelPath())) return defaultModelPath()
    throw new ShadowError('missing_prerequisite', `The model ${name} has not been fetched.`, {
      hint: 'Run `shadow setup` once.',
    })
  }
  const pulled = pulledModel(name)
  if (pulled !== undefined) return pulled
  if (existsSync(name)) return modelAt(name)
  const known = listModels().map((model) => model.name)
  throw new ShadowError('not_found', `There is no base model "${name}".`, {
    hint: `Use ${[...new Set([defaultModelName, ...known])].join(', ')}, the path of a GGUF file or of a Hugging Face folder, or \`shadow models pull\`.`,
  })
}

function pulledModel(name: string): string | undefined {
  const file = /^(.+)\/([^/]+\.gguf)$/.exec(name)
  if (file?.[1] !== undefined && file[2] !== undefined && modelName.test(file[1])) {
    const path = join(pulledFolder(file[1]), file[2])
    return existsSync(path) ? path : undefined
  }
  if (!modelName.test(name)) return undefined
  const folder = pulledFolder(name)
  return existsSync(folder) ? onlyModel(name, folder) : undefined
}

/** @throws ShadowError `invalid_file` for a folder without a model, `invalid_request` for one of several */
function modelAt(path: string): string {
  if (!statSync(path).isDirectory()) return path
  const model = onlyModel(path.replace(/\/+$/, ''), path)
  if (model !== undefined) return model
  const isAdapter = existsSync(join(path, 'adapter_config.json'))
  throw new ShadowError(
    'invalid_file',
    `${path} holds no model: neither a config.json nor a GGUF file${isAdapter ? ', but an adapter' : ''}.`,
    {
      hint: isAdapter
        ? 'Name the base model that it was made for.'
        : 'Name a folder in Hugging Face format, or a GGUF file.',
    },
  )
}

function onlyModel(name: string, folder: string): string | undefined {
  const [only, ...others] = modelsIn(folder)
  if (only === undefined || others.length === 0) return only
  throw new ShadowError('invalid_request', `${name} has several model files.`, {
    hint: `Name one: ${[only, ...others].map((path) => `${name}/${basename(path)}`).join(', ')}.`,
  })
}

/** The models of one folder: itself where it is in Hugging Face's format, else each GGUF file. */
function modelsIn(folder: string): string[] {
  const names = readdirSync(folder)
  if (names.includes('config.json')) return [folder]
  return names
    .filter((name) => name.endsWith('.gguf'))
    .toSorted()
    .map((name) => join(folder, name))
}

/** A base model on this machine, from its headers. */
export interface LocalModel {
  /** What `load` takes. */
  readonly name: string
  /** `model_type`; null for a model that cannot be read. */
  readonly family: string | null
  /** Elements of all tensors. */
  readonly parameters: number
  /** Of its files on disk. */
  readonly bytes: number
  /** How most of its elements are stored: `F16`, `Q4_1`, … */
  readonly storedAs: string | null
  /** The GGUF file, or the folder in Hugging Face's format. */
  readonly path: string
  /** Why it cannot be used; null where it can. */
  readonly problem: string | null
}

/** The models in the cache, by name. Reads headers only. */
export function listModels(): LocalModel[] {
  const root = modelsFolder()
  if (!existsSync(root)) return []
  return readdirSync(root, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .flatMap((entry) => {
      const paths = modelsIn(join(root, entry.name))
      const name = entry.name.replace('--', '/')
      return paths.map((path) => describe(paths.length === 1 ? name : `${name}/${basename(path)}`, path))
    })
    .toSorted((a, b) => a.name.localeCompare(b.name))
}

/** What a model is, from its headers. */
export function describe(name: string, path: string): LocalModel {
  const bytes = bytesOf(path)
  try {
    using file = openModel(path)
    const elements = new Map<string, number>()
    for (const { shape, storedAs } of file.tensors.values())
      elements.set(
        storedAs,
        (elements.get(storedAs) ?? 0) + shape.reduce((product, size) => product * size, 1),
      )
    const parameters = [...elements.values()].reduce((sum, count) => sum + count, 0)
    const [most] = [...elements].toSorted(([, a], [, b]) => b - a)
    const family = file.config.model_type
    return { name, family, parameters, bytes, storedAs: most?.[0] ?? null, path, problem: null }
  } catch (thrown) {
    const problem = messageOf(thrown)
    return { name, family: null, parameters: 0, bytes, storedAs: null, path, problem }
  }
}

function bytesOf(path: string): number {
  const stat = statSync(path)
  if (!stat.isDirectory()) return stat.size
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(path, entry.name)).size, 0)
}
