import { hashFileOrFolder } from '../lib/files.ts'
import { findBaseModel } from './models.ts'

/** SHA-256 over a base model's file, or over the files of its folder. @throws ShadowError not_found */
export async function hashBaseModel(name: string): Promise<string> {
  return await hashFileOrFolder(findBaseModel(name))
}
