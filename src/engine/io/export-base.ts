/** A base model as the writers of model files see it. */
import type { Architecture } from '../models/architecture.ts'
import type { ModelConfig } from '../models/family.ts'
import { FileWindow } from './file-window.ts'
import { type GgufTokenizer, loadGguf } from './gguf.ts'
import { type GgufHeader, readGgufHeader } from './gguf-file.ts'
import { isModelFolder, openModelFolder } from './model-folder.ts'
import type { StoredTensor } from './stored-tensor.ts'

export interface ExportBase extends Disposable {
  readonly path: string
  readonly config: ModelConfig
  readonly architecture: Architecture
  /** By Hugging Face name. */
  readonly tensors: ReadonlyMap<string, StoredTensor>
  /** What only a GGUF file has; null for a folder. */
  readonly gguf: GgufBase | null
}

export interface GgufBase {
  readonly tokenizer: GgufTokenizer
  readonly chatTemplate: string | undefined
  /** The file's own header, and the bytes of one of its tensors as they lie there. */
  readonly header: GgufHeader
  rawTensor(ggufName: string): Uint8Array
}

/**
 * @param path a GGUF file or a folder in Hugging Face format
 * @throws ShadowError `not_found`, or `invalid_file` naming the file and the field that is wrong
 */
export function openExportBase(path: string): ExportBase {
  if (isModelFolder(path)) return { ...openModelFolder(path), gguf: null }
  const model = loadGguf(path)
  try {
    const file = new FileWindow(path)
    const header = readGgufHeader(file)
    return {
      path,
      config: model.config,
      architecture: model.architecture,
      tensors: model.tensors,
      gguf: {
        tokenizer: model.tokenizer,
        chatTemplate: model.chatTemplate,
        header,
        rawTensor(name) {
          const tensor = header.tensors.get(name)
          if (tensor === undefined) throw file.invalid(`tensor ${name}`, 'is missing')
          return file.bytes(tensor.start, tensor.bytes, `tensor ${name}`)
        },
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
