import { loadText } from '../../engine/index.ts'
import { findBaseModel } from '../models.ts'

/** A counter of tokens as the base model would see them; loads no native code. @throws ShadowError not_found | invalid_file */
export function tokenCounter(baseModel: string): (text: string) => number {
  const { tokenizer } = loadText(findBaseModel(baseModel))
  return (text) => tokenizer.encode(text).length
}
