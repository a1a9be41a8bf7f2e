import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ShadowError } from '../../lib/error.ts'
import type { Architecture } from '../models/architecture.ts'
import type { LoraAdapter } from './adapter.ts'
import { ggufAdapterAt, readGgufLora } from './gguf-lora.ts'
import { loadMlxAdapter, mlxTensorFile } from './mlx-lm.ts'
import { loadAdapter } from './peft.ts'

/**
 * Reads an adapter folder of PEFT, mlx-lm or Shadow, or a GGUF LoRA: the file, or a folder that holds nothing else.
 * @param base its base model's architecture, which only a GGUF LoRA needs
 * @throws ShadowError `not_found` | `invalid_file`, `missing_base` for a GGUF LoRA without a base
 */
export function readAdapterFolder(path: string, base?: () => Architecture): LoraAdapter {
  const gguf = ggufAdapterAt(path)
  if (gguf === undefined)
    return existsSync(join(path, mlxTensorFile)) ? loadMlxAdapter(path) : loadAdapter(path)
  if (base !== undefined) return readGgufLora(gguf, base())
  throw new ShadowError('missing_base', `${gguf} does not say which base model it is for.`, {
    hint: 'Name the base model.',
  })
}
