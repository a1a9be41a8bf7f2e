import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { LoraAdapter } from './adapter.ts'
import { loadMlxAdapter, mlxTensorFile } from './mlx-lm.ts'
import { loadAdapter } from './peft.ts'

/** Reads an adapter folder of PEFT, mlx-lm or Shadow. @throws ShadowError `not_found` | `invalid_file` */
export function readAdapterFolder(folder: string): LoraAdapter {
  return existsSync(join(folder, mlxTensorFile)) ? loadMlxAdapter(folder) : loadAdapter(folder)
}
