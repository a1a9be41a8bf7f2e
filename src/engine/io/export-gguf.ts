/** Models and adapters as GGUF files that llama.cpp loads. */
import { join } from 'node:path'
import { ShadowError } from '../../lib/error.ts'
import type { ExportBase } from './export-base.ts'
import { mergedTensors } from './export-merge.ts'
import { fitsBlocks, type GgufTensorToWrite, type GgufWriteType, writeGguf } from './gguf-write.ts'
import type { GgufValue } from './gguf-file.ts'
import { ggufArchitecture } from './gguf-config.ts'
import { type GgufTensorName, ggufTensorNames, ropeTensors } from './gguf-names.ts'
import { permuteRows } from './head-rows.ts'
import type { StoredTensor } from './stored-tensor.ts'
import type { LoraModule } from './adapter.ts'

/** llama.cpp's `general.file_type`: what most tensors are. */
const fileTypes = { F32: 0, F16: 1, Q8_0: 7 } as const

/** A tensor as `convert_hf_to_gguf.py` writes it: some rows in another order, some norms larger by 1. */
function inFileOrder(
  tensor: Pick<StoredTensor, 'shape' | 'read'>,
  { permutedHeads, offset = 0 }: Pick<GgufTensorName, 'permutedHeads' | 'offset'>,
) {
  const read = (): Float32Array<ArrayBuffer> => {
    const data = offset === 0 ? tensor.read() : tensor.read().map((value) => value + offset)
    return permutedHeads === undefined ? data : permuteRows(data, tensor.shape[0] ?? 1, permutedHeads)
  }
  return { shape: tensor.shape, read }
}

/**
 * Writes base and adapter as one GGUF file, with the base file's tokenizer and chat template. Norms stay
 * float32; rows that don't fill Q8_0 blocks are F16; tensors that are of the wanted type already and that the
 * adapter leaves alone are copied byte by byte.
 * @returns the file's path
 * @throws ShadowError `invalid_request` for a base that is a folder
 */
export async function exportGguf(
  folder: string,
  base: ExportBase,
  modules: readonly LoraModule[],
  type: GgufWriteType,
): Promise<string> {
  const { gguf } = base
  if (gguf === null)
    throw new ShadowError('invalid_request', `${base.path} has no tokenizer in GGUF's form to write.`, {
      hint: 'Export with --format hf and convert that folder with llama.cpp, or name a GGUF file with --base.',
    })
  const merged = mergedTensors(base.tensors, modules)
  const changed = new Set(modules.map(({ module }) => `${module}.weight`))
  const tensors: GgufTensorToWrite[] = []
  for (const [name, target] of ggufTensorNames(base.config.model_type, base.architecture)) {
    const tensor = merged.get(target.name)
    if (tensor === undefined) continue
    const wanted = tensor.shape.length === 1 ? 'F32' : fitsBlocks(tensor.shape, type) ? type : 'F16'
    const asItIs = !changed.has(target.name) && gguf.header.tensors.get(name)?.type.name === wanted
    tensors.push({
      name,
      type: wanted,
      ...inFileOrder(tensor, target),
      ...(asItIs && { raw: () => gguf.rawTensor(name) }),
    })
  }
  for (const name of ropeTensors) {
    const factors = gguf.header.tensors.get(name)
    if (factors?.type.decode === undefined) continue
    const { decode } = factors.type
    const read = (): Float32Array<ArrayBuffer> => decode(new Uint8Array(gguf.rawTensor(name)))
    tensors.push({ name, type: 'F32', shape: factors.shape, read })
  }
  const metadata = new Map(gguf.header.metadata)
  metadata.delete('general.alignment')
  metadata.set('general.file_type', fileTypes[type])
  if (type === 'Q8_0') metadata.set('general.quantization_version', 2)
  else metadata.delete('general.quantization_version')
  const path = join(folder, `model.${type.toLowerCase()}.gguf`)
  await writeGguf(path, metadata, tensors)
  return path
}

/**
 * Writes an adapter as the GGUF file that llama.cpp applies with `--lora`: float32 factors, B's rows in the
 * order of the base file's.
 * @returns the file's path
 * @throws ShadowError `invalid_request` for what llama.cpp has no place for: DoRA, alphas that differ
 */
export async function exportGgufLora(
  folder: string,
  base: ExportBase,
  modules: readonly LoraModule[],
): Promise<string> {
  const alphas = new Set(modules.map(({ a, scale }) => scale * (a.shape[0] ?? 0)))
  const [alpha] = alphas
  if (alpha === undefined || alphas.size > 1 || modules.some(({ magnitude }) => magnitude !== undefined))
    throw new ShadowError('invalid_request', 'llama.cpp applies plain LoRA with one alpha for all layers.', {
      hint: 'Export this adapter merged into its base instead (--format gguf).',
    })
  // Refuses adapters of another base.
  mergedTensors(base.tensors, modules)
  const byModule = new Map(modules.map((lora) => [`${lora.module}.weight`, lora]))
  const tensors: GgufTensorToWrite[] = []
  for (const [name, target] of ggufTensorNames(base.config.model_type, base.architecture)) {
    const lora = byModule.get(target.name)
    if (lora === undefined) continue
    const { a, b } = lora
    const asRead = (data: Float32Array) => () => Float32Array.from(data)
    const factorB = inFileOrder({ shape: b.shape, read: asRead(b.data) }, target)
    tensors.push({ name: `${name}.lora_a`, type: 'F32', shape: a.shape, read: asRead(a.data) })
    tensors.push({ name: `${name}.lora_b`, type: 'F32', ...factorB })
  }
  const metadata = new Map<string, GgufValue>([
    ['general.type', 'adapter'],
    ['general.architecture', ggufArchitecture(base.config.model_type)],
    ['adapter.type', 'lora'],
    ['adapter.lora.alpha', alpha],
  ])
  const path = join(folder, 'adapter.gguf')
  await writeGguf(path, metadata, tensors)
  return path
}
