/**
 * Models in Hugging Face folders, dense or quantised by MLX: config.json and model.safetensors, or
 * model.safetensors.index.json and its shards. Nothing in them is trusted: names in the index stay within the folder,
 * and what index and shards say of each other has to agree.
 */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { type Architecture, architectureTensors } from '../models/architecture.ts'
import type { ModelConfig } from '../models/family.ts'
import { architectureOf } from '../models/registry.ts'
import { builtFrom, damagedFileHint, fileProblem } from './file-problem.ts'
import { readJsonObject } from './json-file.ts'
import { withMlxMatrices } from './mlx-quantised.ts'
import { openSafetensors, type SafetensorsFile } from './safetensors.ts'
import type { StoredTensor } from './stored-tensor.ts'

const configFile = 'config.json'
const weightsFile = 'model.safetensors'
const indexFile = `${weightsFile}.index.json`

const configSchema = z.looseObject({ model_type: z.string(), num_hidden_layers: z.number() })

const indexSchema = z.object({
  /** Tensor → the file it is in, beside the index. */
  weight_map: z.record(
    z.string(),
    z.string().regex(/^[\w-][\w.-]*\.safetensors$/, 'is not the plain name of a .safetensors file'),
  ),
})

export interface ModelFolder extends Disposable {
  readonly path: string
  readonly config: ModelConfig
  readonly architecture: Architecture
  /** By Hugging Face name; those that the architecture asks for and whatever else the files hold. */
  readonly tensors: ReadonlyMap<string, StoredTensor>
}

/** Whether a path is a folder with a model in it, rather than a file. */
export function isModelFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}

/**
 * Opens a folder. Only headers are read; tensors are read one by one on request, so the files stay open until the
 * model is disposed of.
 * @throws ShadowError `not_found`, `invalid_file` naming the file and the field that is wrong, `invalid_config` for a
 *   model that this engine does not compute
 */
export function openModelFolder(path: string): ModelFolder {
  const written = readConfig(path)
  const files = openWeights(path)
  try {
    const stored = new Map(files.flatMap((file) => [...file.tensors]))
    const tensors = withMlxMatrices(written, stored, (field, problem) =>
      wrong(join(path, configFile), field, problem, 'Fetch the model in another form.'),
    )
    const config = (written['quantization'] ?? null) === null ? written : withoutQuantization(written)
    // Counted before the layers are made: a configuration may claim any number of them.
    if (config.num_hidden_layers > tensors.size)
      throw wrong(
        join(path, configFile),
        'num_hidden_layers',
        `${config.num_hidden_layers} layers cannot come from ${tensors.size} tensors`,
      )
    const architecture = builtFrom(join(path, configFile), 'settings', () => architectureOf(config))
    checkTensors(path, architecture, tensors)
    return { path, config, architecture, tensors, [Symbol.dispose]: () => closeAll(files) }
  } catch (thrown) {
    closeAll(files)
    throw thrown
  }
}

function readConfig(path: string): z.output<typeof configSchema> {
  const name = join(path, configFile)
  const parsed = configSchema.safeParse(
    readJsonObject(name, 'Name a folder that holds a model in Hugging Face format.'),
  )
  if (!parsed.success) throw wrong(name, 'content', z.prettifyError(parsed.error))
  return parsed.data
}

/** What remains is the configuration of the model before MLX quantised it. */
function withoutQuantization({
  quantization: _own,
  quantization_config: _copy,
  ...config
}: z.output<typeof configSchema>): z.output<typeof configSchema> {
  return config
}

function openWeights(path: string): SafetensorsFile[] {
  if (existsSync(join(path, weightsFile))) return [openSafetensors(join(path, weightsFile))]
  if (existsSync(join(path, indexFile))) return openShards(path)
  const others = readdirSync(path).filter((name) => /\.(bin|pt|pth|h5|msgpack|npz)$/.test(name))
  throw wrong(
    join(path, weightsFile),
    'weights',
    others.length === 0
      ? `neither it nor ${indexFile} is there`
      : `it is not there, and ${others[0]} is in a format that is not read`,
    'Fetch the model in safetensors format.',
  )
}

function openShards(path: string): SafetensorsFile[] {
  const index = join(path, indexFile)
  const parsed = indexSchema.safeParse(readJsonObject(index, damagedFileHint))
  if (!parsed.success) throw wrong(index, 'weight_map', z.prettifyError(parsed.error))
  const placeOf = new Map(Object.entries(parsed.data.weight_map))
  const names = [...new Set(placeOf.values())].toSorted()
  const files: SafetensorsFile[] = []
  try {
    for (const name of names) {
      if (!existsSync(join(path, name)))
        throw wrong(index, `weight_map: ${name}`, 'is not in the folder', 'Fetch the missing file.')
      const file = openSafetensors(join(path, name))
      files.push(file)
      for (const tensor of file.tensors.keys()) {
        const place = placeOf.get(tensor)
        if (place !== name)
          throw wrong(
            join(path, name),
            `tensor ${tensor}`,
            place === undefined
              ? `is not listed in ${indexFile}`
              : `is here, but ${indexFile} has it in ${place}`,
          )
      }
    }
    const held = new Set(files.flatMap((file) => [...file.tensors.keys()]))
    for (const [tensor, name] of placeOf)
      if (!held.has(tensor)) throw wrong(join(path, name), `tensor ${tensor}`, 'is missing')
    return files
  } catch (thrown) {
    closeAll(files)
    throw thrown
  }
}

/** All that the architecture needs is there, in its shape. */
function checkTensors(
  path: string,
  architecture: Architecture,
  tensors: ReadonlyMap<string, StoredTensor>,
): void {
  for (const [name, shape] of architectureTensors(architecture)) {
    if (name === 'lm_head.weight' && architecture.tiedEmbeddings) continue
    const stored = tensors.get(name)
    if (stored === undefined) throw wrong(path, `tensor ${name}`, 'is missing')
    if (stored.shape.join() !== shape.join())
      throw wrong(
        path,
        `tensor ${name}`,
        `has the shape ${stored.shape.join('×')}, ${configFile} asks for ${shape.join('×')}`,
      )
  }
}

function closeAll(files: readonly SafetensorsFile[]): void {
  for (const file of files) file[Symbol.dispose]()
}

function wrong(path: string, field: string, problem: string, hint = damagedFileHint) {
  return fileProblem(path, field, problem, hint)
}
