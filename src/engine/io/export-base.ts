/** A base model as the writers of model files see it. */
import { statSync } from 'node:fs'
import { ShadowError } from '../../lib/error.ts'
import { FileWindow } from './file-window.ts'
import { type GgufTokenizer, loadGguf } from './gguf.ts'
import { type GgufHeader, readGgufHeader } from './gguf-file.ts'
import type { Architecture } from '../models/architecture.ts'
import type { ModelConfig } from '../models/family.ts'
import type { StoredTensor } from './stored-tensor.ts'

export interface ExportBase extends Disposable {
  readonly path: string
  readonly config: ModelConfig
  readonly architecture: Architecture
  /** By Hugging Face name. */
  readonly tensors: ReadonlyMap<string, StoredTensor>
  readonly tokenizer: GgufTokenizer
  readonly chatTemplate: string | undefined
  /** The file's own header, and the bytes of one of its tensors as they lie there. */
  readonly gguf: GgufHeader
  rawTensor(ggufName: string): Uint8Array
}

/** @throws ShadowError `not_found`, or `invalid_file` naming the file and the field that is wrong */
export function openExportBase(path: string): ExportBase {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true)
    throw new ShadowError('invalid_request', `${path} is a folder; models are exported from GGUF files.`, {
      hint: 'Name the GGUF file of the base model with --base.',
    })
  const model = loadGguf(path)
  try {
    const file = new FileWindow(path)
    const gguf = readGgufHeader(file)
    return {
      path,
      config: model.config,
      architecture: model.architecture,
      tensors: model.tensors,
      tokenizer: model.tokenizer,
      chatTemplate: model.chatTemplate,
      gguf,
      rawTensor(name) {
        const tensor = gguf.tensors.get(name)
        if (tensor === undefined) throw file.invalid(`tensor ${name}`, 'is missing')
        return file.bytes(tensor.start, tensor.bytes, `tensor ${name}`)
      },
      [Symbol.dispose]() {
        model[Symbol.dispose]()
        file[Symbol.dispose]()
      },
    }
  } catch (thrown) {
    model[Symbol.dispose]()
    throw thrown
  }
}
