/** Tokenizers of Hugging Face folders: tokenizer.json, tokenizer_config.json, generation_config.json. */
import { z } from 'zod'
import { ShadowError } from '../../lib/error.ts'
import { builtFrom, shown } from '../io/file-problem.ts'
import { parseJsonObject } from '../io/json-file.ts'
import type { AddedToken } from './added-tokens.ts'
import { ChatTemplate } from './chat-template.ts'
import { normalizer } from './normalizers.ts'
import { preTokenizer } from './pre-tokenizers.ts'
import { tokenModel } from './token-model.ts'
import { decoder } from './token-text.ts'
import { Tokenizer } from './tokenizer.ts'

/** The files as they are read, undefined where a folder has none. */
export interface TokenizerFiles {
  /** tokenizer.json */
  readonly tokenizer: Uint8Array
  /** tokenizer_config.json: names of special tokens, the chat template. */
  readonly tokenizerConfig?: Uint8Array | undefined
  /** generation_config.json: further tokens that end a reply. */
  readonly generationConfig?: Uint8Array | undefined
  /** chat_template.jinja, which goes before the one in tokenizer_config.json. */
  readonly chatTemplate?: Uint8Array | undefined
}

/** What the files come to. */
export interface ParsedTokenizer {
  /** From tokenizer.json. */
  readonly tokenizer: Tokenizer
  /** Undefined where the files have none. */
  readonly chatTemplate: ChatTemplate | undefined
}

const damagedHint = 'Fetch the file again, or choose another model.'

const tokenizerJson = z.object({
  added_tokens: z
    .array(
      z.object({
        id: z.int().min(0),
        content: z.string().min(1).max(1000),
        special: z.boolean().default(false),
        single_word: z.boolean().default(false),
        lstrip: z.boolean().default(false),
        rstrip: z.boolean().default(false),
        normalized: z.boolean().default(true),
      }),
    )
    .default([]),
  normalizer: normalizer.optional(),
  pre_tokenizer: preTokenizer.optional(),
  model: tokenModel,
  decoder,
})

const tokenName = z.union([z.string(), z.object({ content: z.string() }).transform(({ content }) => content)])

const tokenNames = [
  'bos_token',
  'eos_token',
  'unk_token',
  'sep_token',
  'pad_token',
  'cls_token',
  'mask_token',
] as const

const tokenizerConfig = z.object({
  ...Object.fromEntries(tokenNames.map((name) => [name, tokenName.nullish()])),
  chat_template: z
    .union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))])
    .nullish(),
})

const generationConfig = z.object({
  eos_token_id: z.union([z.int().min(0), z.array(z.int().min(0)).max(1000)]).nullish(),
})

/**
 * A tokenizer and its chat template from a folder's files. Post-processors are not read: the chat template
 * writes every control token itself.
 * @param folder named in errors
 * @throws ShadowError `invalid_file` naming file and field
 */
export function parseTokenizer(files: TokenizerFiles, folder = 'The model'): ParsedTokenizer {
  const name = (file: string): string => `${folder}: ${file}`
  const json = parse(tokenizerJson, files.tokenizer, name('tokenizer.json'))
  const config =
    files.tokenizerConfig && parse(tokenizerConfig, files.tokenizerConfig, name('tokenizer_config.json'))
  const generation =
    files.generationConfig && parse(generationConfig, files.generationConfig, name('generation_config.json'))
  const added = json.added_tokens.map(
    ({ single_word, ...token }): AddedToken => ({ ...token, singleWord: single_word }),
  )
  const highest = json.model.vocab.size * 2 + added.length + widestGap
  added.forEach(({ id }, index) => {
    if (id >= highest) throw invalid(name('tokenizer.json'), `added_tokens.${index}.id is out of range`)
  })
  const ends = generation?.eos_token_id ?? []
  const named = Object.entries(config ?? {}).flatMap(([key, value]): [string, string][] =>
    key.endsWith('_token') && typeof value === 'string' ? [[key, value]] : [],
  )
  const tokenizer = new Tokenizer({
    normalize: json.normalizer ?? undefined,
    split: json.pre_tokenizer ?? undefined,
    model: json.model,
    added,
    text: json.decoder,
    named: new Map(named),
    ends: typeof ends === 'number' ? [ends] : ends,
  })
  const source =
    files.chatTemplate === undefined
      ? chosen(config?.chat_template)
      : text(files.chatTemplate, name('chat_template.jinja'))
  const chatTemplate =
    source === undefined
      ? undefined
      : builtFrom(folder, 'chat_template', () => new ChatTemplate(source, tokenizer))
  return { tokenizer, chatTemplate }
}

const widestGap = 65_536

/** Of several templates the one for tools, which is the one for chat where there is no other. */
function chosen(templates: z.output<typeof tokenizerConfig>['chat_template']): string | undefined {
  if (!Array.isArray(templates)) return templates ?? undefined
  const byName = new Map(templates.map(({ name, template }) => [name, template]))
  return byName.get('tool_use') ?? byName.get('default')
}

function text(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (thrown) {
    throw invalid(name, 'is not UTF-8 text', thrown)
  }
}

function parse<T extends z.ZodType>(schema: T, bytes: Uint8Array, name: string): z.output<T> {
  const json = parseJsonObject(name, 'content', bytes, damagedHint)
  const result = schema.safeParse(json)
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw invalid(name, `${issue?.path.join('.') ?? ''} ${issue?.message ?? 'is wrong'}`.trim(), result.error)
}

function invalid(name: string, problem: string, cause?: unknown): ShadowError {
  return new ShadowError('invalid_file', `${name}: ${shown(problem)}.`, {
    hint: damagedHint,
    cause,
  })
}
