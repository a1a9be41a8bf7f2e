import { statSync } from 'node:fs'
import { hashFile, hashFolder } from '../lib/files.ts'
import { findBaseModel } from './models.ts'

/** SHA-256 over a base model's file, or over the files of its folder. @throws ShadowError not_found */
export async function hashBaseModel(name: string): Promise<string> {
  const path = findBaseModel(name)
  return statSync(path).isDirectory() ? await hashFolder(path) : await hashFile(path)
}
