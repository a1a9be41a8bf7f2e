/** Adapters and models in the formats of others. Loads no native code. */
import { ShadowError } from '../../lib/error.ts'
import type { Architecture } from '../models/architecture.ts'
import { openExportBase } from './export-base.ts'
import { exportGguf, exportGgufLora } from './export-gguf.ts'
import { exportHuggingFace } from './export-hf.ts'
import { saveMlxAdapter } from './mlx-lm.ts'
import { intoNewFolder } from './new-folder.ts'
import { loraModules } from './adapter.ts'
import { readAdapterFolder } from './adapter-folder.ts'
import { saveAdapter } from './peft.ts'
import type { StoredTensor } from './stored-tensor.ts'

/**
 * `peft` and `mlx-lm`: the adapter alone. `hf`, `gguf`: base and adapter as one model. `gguf-lora`: the adapter
 * for llama.cpp.
 */
export const exportFormats = ['peft', 'mlx-lm', 'hf', 'gguf', 'gguf-lora'] as const
/** What a model or an adapter can be written as; exportFormats says for whom. */
export type ExportFormat = (typeof exportFormats)[number]

/** Types of the weights in merged models; the first of each is the default (for hf from a folder: as they are). */
export const exportTypes = { hf: ['f32', 'bf16', 'f16'], gguf: ['f16', 'q8_0', 'f32'] } as const

export interface ExportRequest {
  /** A GGUF file or a Hugging Face folder; null is enough for the formats that hold the adapter alone. */
  basePath: string | null
  /** A folder in PEFT's or mlx-lm's format, or a GGUF LoRA, which needs the base; null exports the base alone. */
  adapterFolder: string | null
  format: ExportFormat
  /** One of `exportTypes[format]`. */
  type?: string
  /** Must be new or empty; a new one appears when all of it is written. */
  outFolder: string
  /** Told what the export does that one might not expect. */
  onNote?: (text: string) => void
}

/**
 * Writes the export. Where no arithmetic is involved the tensors are the same to the last bit.
 * @throws ShadowError `conflict` when the folder holds something, `invalid_request`, `invalid_file`, `store_failed`
 */
export async function exportModel(request: ExportRequest): Promise<void> {
  const { format } = request
  if (!exportFormats.includes(format))
    throw new ShadowError('invalid_request', `There is no format "${format}".`, {
      hint: `Choose one of: ${exportFormats.join(', ')}.`,
    })
  await intoNewFolder(request.outFolder, (folder) => exportInto(folder, request))
}

async function exportInto(outFolder: string, request: ExportRequest): Promise<void> {
  const { basePath, adapterFolder, format } = request
  if (request.type !== undefined && format !== 'hf' && format !== 'gguf')
    throw new ShadowError('invalid_request', `The format ${format} has no choice of --type.`, {
      hint: 'Leave it out, or choose --format hf or gguf.',
    })
  const adapter =
    adapterFolder === null
      ? null
      : readAdapterFolder(adapterFolder, basePath === null ? undefined : () => architectureAt(basePath))
  if (adapter === null && format !== 'hf' && format !== 'gguf')
    throw new ShadowError('invalid_request', `There is no adapter to write as ${format}.`, {
      hint: 'Name an adapter, or choose --format hf or gguf.',
    })
  if (adapter !== null && format === 'peft') return await saveAdapter(outFolder, adapter)
  if (adapter !== null && format === 'mlx-lm') return await saveMlxAdapter(outFolder, adapter)
  if (basePath === null)
    throw new ShadowError('invalid_request', `The format ${format} needs the base model.`)
  using base = openExportBase(basePath)
  const modules = adapter === null ? [] : loraModules(adapter)
  if (format === 'hf' || format === 'gguf') {
    const type = chosen<string>(request.type, exportTypes[format])
    const quantised = quantisedTypes(base.tensors, type)
    if (quantised.length > 0)
      request.onNote?.(`The base is quantised (${quantised.join(', ')}); its weights are written as ${type}.`)
  }
  if (format === 'gguf-lora') await exportGgufLora(outFolder, base, modules)
  else if (format === 'hf') {
    const types = { f32: 'F32', bf16: 'BF16', f16: 'F16' } as const
    const type = request.type === undefined ? undefined : types[chosen(request.type, exportTypes.hf)]
    await exportHuggingFace(outFolder, base, modules, type)
  } else {
    const types = { f16: 'F16', q8_0: 'Q8_0', f32: 'F32' } as const
    await exportGguf(outFolder, base, modules, types[chosen(request.type, exportTypes.gguf)])
  }
}

function architectureAt(path: string): Architecture {
  using base = openExportBase(path)
  return base.architecture
}

function chosen<T extends string>(wanted: string | undefined, possible: readonly [T, ...T[]]): T {
  const type = wanted === undefined ? possible[0] : possible.find((name) => name === wanted)
  if (type !== undefined) return type
  throw new ShadowError('invalid_request', `Weights cannot be written as ${wanted}.`, {
    hint: `Choose one of: ${possible.join(', ')}.`,
  })
}

/** The types of quantised tensors that do not stay as they are. */
function quantisedTypes(tensors: ReadonlyMap<string, StoredTensor>, type: string): string[] {
  const plain = ['F32', 'F16', 'BF16', type.toUpperCase()]
  const stored = new Set([...tensors.values()].map(({ storedAs }) => storedAs))
  return [...stored].filter((name) => !plain.includes(name)).toSorted()
}
