/** The default model's files for tests, and the fixtures made from it. */
import { readFileSync } from 'node:fs'
import { type GgufModel, loadGguf } from '../../src/engine/io/gguf.ts'
import { ChatTemplate } from '../../src/engine/tokenizer/chat-template.ts'
import { ggufTokenizer } from '../../src/engine/tokenizer/gguf-tokenizer.ts'
import type { Tokenizer } from '../../src/engine/tokenizer/tokenizer.ts'
import { defaultModelPath } from '../../src/setup/model.mjs'

export function openDefaultModel(): GgufModel {
  return loadGguf(defaultModelPath())
}

export function defaultText(): { tokenizer: Tokenizer; template: ChatTemplate } {
  using model = openDefaultModel()
  const tokenizer = ggufTokenizer(model.tokenizer)
  return { tokenizer, template: new ChatTemplate(model.chatTemplate ?? '', tokenizer) }
}

/** A committed fixture as JSON, to be parsed by the caller's schema. */
export function fixture(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`../fixtures/${name}.json`, import.meta.url), 'utf8'))
}
