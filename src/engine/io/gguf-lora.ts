/**
 * LoRA adapters in GGUF files, as llama.cpp's `convert_lora_to_gguf.py` and Shadow's export write them: `<tensor>.lora_a`
 * (r, in) and `<tensor>.lora_b` (out, r) under the base file's names, one alpha for all. The rows of B lie as the base
 * file's do, and nothing says how many heads those are of: so the base has to be known.
 */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { ShadowError } from '../../lib/error.ts'
import type { Architecture } from '../models/architecture.ts'
import { type LoraAdapter, loraConfig, pairProblem } from './adapter.ts'
import { FileWindow } from './file-window.ts'
import { readableTypes } from './ggml-types.ts'
import { modelTypeOf } from './gguf-config.ts'
import { GgufFields } from './gguf-fields.ts'
import { type GgufTensor, readGgufHeader } from './gguf-file.ts'
import { type GgufTensorName, ggufTensorNames } from './gguf-names.ts'
import { unpermuteRows } from './head-rows.ts'
import type { TensorData } from './safetensors.ts'

/** The GGUF file that a path means as an adapter: itself, or the only one of a folder; undefined where it is none. */
export function ggufAdapterAt(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return undefined
  const names = stat.isDirectory() ? readdirSync(path) : []
  if (names.includes('adapter_config.json') || names.includes('config.json')) return undefined
  const files = stat.isDirectory()
    ? names.filter((name) => name.endsWith('.gguf')).map((name) => join(path, name))
    : [path].filter((name) => name.endsWith('.gguf'))
  const [only, ...others] = files
  return only !== undefined && others.length === 0 && isAdapter(only) ? only : undefined
}

function isAdapter(path: string): boolean {
  try {
    using file = new FileWindow(path)
    return readGgufHeader(file).metadata.get('general.type') === 'adapter'
  } catch (thrown) {
    // What is wrong with it is said where it is read as what it was named as.
    if (thrown instanceof ShadowError) return false
    throw thrown
  }
}

/**
 * @param architecture the base's
 * @throws ShadowError `not_found`, or `invalid_file` naming the file and the field that is wrong or of another base
 */
export function readGgufLora(path: string, architecture: Architecture): LoraAdapter {
  using file = new FileWindow(path)
  const { metadata, tensors: stored } = readGgufHeader(file)
  const fields = new GgufFields(file, metadata)
  for (const [key, wanted] of [
    ['general.type', 'adapter'],
    ['adapter.type', 'lora'],
  ] as const) {
    const value = fields.required(key, 'string')
    if (value !== wanted) throw file.invalid(`metadata ${key}`, `${value} is not ${wanted}`)
  }
  const alpha = fields.required('adapter.lora.alpha', 'number')
  if (!Number.isFinite(alpha) || alpha < 0)
    throw file.invalid('metadata adapter.lora.alpha', `${alpha} is not possible`)
  const modelType = modelTypeOf(file, fields.required('general.architecture', 'string'))
  const targets = ggufTensorNames(modelType, architecture)
  const tensors = new Map<string, TensorData>()
  const ranks = new Map<string, number>()
  for (const tensor of stored.values()) {
    const [, stem = '', factor] = /^(.*)\.lora_([ab])$/.exec(tensor.name) ?? []
    const target = targets.get(stem)
    if (target === undefined || factor === undefined || target.shape.length !== 2)
      throw file.invalid(`tensor ${tensor.name}`, 'belongs to no matrix of this base model')
    const module = target.name.slice(0, -'.weight'.length)
    const rank = tensor.shape[factor === 'a' ? 0 : 1] ?? 0
    const [rows = 0, columns = 0] = target.shape
    const wanted = factor === 'a' ? [rank, columns] : [rows, rank]
    if (tensor.shape.join() !== wanted.join())
      throw file.invalid(
        `tensor ${tensor.name}`,
        `is ${tensor.shape.join('×')} for a matrix of ${rows}×${columns} in this base model`,
      )
    if (factor === 'a') ranks.set(module, rank)
    tensors.set(`${module}.lora_${factor.toUpperCase()}.weight`, readFactor(file, tensor, factor, target))
  }
  const adapter = { config: configOf(alpha, ranks), tensors }
  const problem = tensors.size === 0 || ranks.size === 0 ? 'it has no factors' : pairProblem(adapter)
  if (problem !== undefined) throw file.invalid('tensors', problem)
  return adapter
}

function readFactor(
  file: FileWindow,
  tensor: GgufTensor,
  factor: string,
  target: GgufTensorName,
): TensorData {
  const field = `tensor ${tensor.name}`
  const { decode, name } = tensor.type
  if (decode === undefined)
    throw file.invalid(field, `is stored as ${name}, which is not read (${readableTypes} are)`)
  const data = decode(file.bytes(tensor.start, tensor.bytes, field))
  const { shape } = tensor
  const heads = factor === 'b' ? target.permutedHeads : undefined
  return { shape, data: heads === undefined ? data : unpermuteRows(data, shape[0] ?? 1, heads) }
}

/** llama.cpp scales by alpha / rank of each layer; without an alpha not at all. */
function configOf(alpha: number, ranks: ReadonlyMap<string, number>): LoraAdapter['config'] {
  const [r = 1] = ranks.values()
  const others = Object.fromEntries(
    [...ranks].flatMap(([module, rank]) => (rank === r ? [] : [[module.replaceAll('.', '\\.'), rank]])),
  )
  return loraConfig.parse({
    peft_type: 'LORA',
    r: Math.max(1, r),
    lora_alpha: alpha === 0 ? Math.max(1, r) : alpha,
    target_modules: [...new Set([...ranks.keys()].map((module) => module.split('.').at(-1) ?? module))],
    rank_pattern: others,
    alpha_pattern: alpha === 0 ? others : {},
  })
}
