/**
 * How a piece of text becomes tokens: BPE, Unigram or WordPiece. The algorithms are @huggingface/tokenizers';
 * here each token also gets its length, and what the vocabulary lacks is handled as the reference does.
 */
import { z } from 'zod'
import { BPE, Unigram, WordPiece } from './huggingface.ts'

export interface ModelToken {
  readonly id: number
  /** UTF-16 units of the piece that the token covers; the tokens of one character share its length. */
  readonly length: number
}

export interface TokenModel {
  readonly vocab: ReadonlyMap<string, number>
  encode(piece: string): readonly ModelToken[]
}

/** Ids leave no gap wider than this, so that a table by id is no larger than the file warrants. */
const widestGap = 65_536

/** A record of token → id as a map: names of tokens may be those of an object's own members. */
const vocabulary = z.unknown().transform((value, context): ReadonlyMap<string, number> => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    context.addIssue('is not an object of token and id')
    return z.NEVER
  }
  const entries = Object.entries(value)
  const vocab = new Map<string, number>()
  const ids = new Set<number>()
  for (const [token, id] of entries) {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= 2 * entries.length + widestGap) {
      context.addIssue({
        code: 'custom',
        message: `is not an id of this vocabulary: ${String(id)}`,
        path: [token],
      })
      return z.NEVER
    }
    if (ids.has(id)) {
      context.addIssue({ code: 'custom', message: `has the id of another token: ${id}`, path: [token] })
      return z.NEVER
    }
    ids.add(id)
    vocab.set(token, id)
  }
  return vocab
})

/** What no model in use sets, and what would change the ids if it were passed over. */
const notSet = z.union([z.literal(''), z.literal(0), z.literal(false)]).nullish()

const pair = z.union([
  z.tuple([z.string().min(1), z.string().min(1)]),
  z.string().transform((merge, context): [string, string] => {
    const [left, right, ...more] = merge.split(' ')
    if (left && right && more.length === 0) return [left, right]
    context.addIssue('is not a pair')
    return z.NEVER
  }),
])

const bpe = z
  .object({
    type: z.literal('BPE'),
    vocab: vocabulary,
    merges: z.array(pair),
    unk_token: z.string().nullish(),
    fuse_unk: z.boolean().nullish(),
    byte_fallback: z.boolean().nullish(),
    ignore_merges: z.boolean().nullish(),
    dropout: notSet,
    continuing_subword_prefix: notSet,
    end_of_word_suffix: notSet,
  })
  .superRefine(({ vocab, merges, unk_token }, context) => {
    const stray = merges.findIndex(([a, b]) => !vocab.has(a) || !vocab.has(b) || !vocab.has(a + b))
    if (stray >= 0)
      context.addIssue({
        code: 'custom',
        message: 'joins what is not in the vocabulary',
        path: ['merges', stray],
      })
    if (typeof unk_token === 'string' && !vocab.has(unk_token))
      context.addIssue({ code: 'custom', message: 'is not in the vocabulary', path: ['unk_token'] })
  })
  .transform(bpeModel)

const unigram = z
  .object({
    type: z.literal('Unigram'),
    vocab: z.array(z.tuple([z.string(), z.number()])).min(1),
    unk_id: z.int().min(0),
    byte_fallback: z.boolean().nullish(),
  })
  .refine(({ vocab, unk_id }) => unk_id < vocab.length, {
    error: 'is not in the vocabulary',
    path: ['unk_id'],
  })
  .transform(unigramModel)

const wordPiece = z
  .object({
    type: z.literal('WordPiece'),
    vocab: vocabulary,
    unk_token: z.string(),
    continuing_subword_prefix: z.string().default('##'),
    max_input_chars_per_word: z.int().min(1).max(1000).default(100),
  })
  .refine(({ vocab, unk_token }) => vocab.has(unk_token), {
    error: 'is not in the vocabulary',
    path: ['unk_token'],
  })
  .transform(wordPieceModel)

/** The `model` of tokenizer.json. Very old files leave out the type of BPE. */
export const tokenModel = z.preprocess(
  (model) => (isTypeless(model) ? { ...model, type: 'BPE' } : model),
  z.discriminatedUnion('type', [bpe, unigram, wordPiece]),
)

function isTypeless(model: unknown): model is object {
  return typeof model === 'object' && model !== null && !('type' in model) && 'merges' in model
}

interface BpeSettings {
  readonly vocab: ReadonlyMap<string, number>
  readonly merges: [string, string][]
  readonly unk_token?: string | null | undefined
  readonly fuse_unk?: boolean | null | undefined
  readonly byte_fallback?: boolean | null | undefined
  readonly ignore_merges?: boolean | null | undefined
}

export function bpeModel(settings: BpeSettings): TokenModel {
  const { vocab, merges } = settings
  // Only its merging is used, which needs no vocabulary.
  const algorithm = new BPE({ type: 'BPE', vocab: {}, merges, ignore_merges: false })
  const unknown = typeof settings.unk_token === 'string' ? vocab.get(settings.unk_token) : undefined
  const byteFallback = settings.byte_fallback ?? false
  const missing = { vocab, byteFallback, unknown, fuse: settings.fuse_unk ?? false }
  return {
    vocab,
    encode: (piece) => {
      const known = settings.ignore_merges ? vocab.get(piece) : undefined
      return known === undefined
        ? toTokens(algorithm.bpe(piece), missing)
        : [{ id: known, length: piece.length }]
    },
  }
}

interface UnigramSettings {
  readonly vocab: [string, number][]
  readonly unk_id: number
  readonly byte_fallback?: boolean | null | undefined
}

function unigramModel({ vocab: scored, unk_id, byte_fallback }: UnigramSettings): TokenModel {
  const vocab = new Map(scored.map(([token], id) => [token, id]))
  const algorithm = new Unigram({ type: 'Unigram', vocab: scored, unk_id }, '')
  const missing = { vocab, byteFallback: byte_fallback ?? false, unknown: unk_id, fuse: true }
  return { vocab, encode: (piece) => toTokens(algorithm.tokenize(piece), missing) }
}

interface Missing {
  readonly vocab: ReadonlyMap<string, number>
  readonly byteFallback: boolean
  readonly unknown: number | undefined
  /** Neighbours that are unknown become one token. */
  readonly fuse: boolean
}

/** Parts of a piece as tokens: by the vocabulary, else by their bytes, else the unknown token, else none. */
function toTokens(parts: readonly string[], { vocab, byteFallback, unknown, fuse }: Missing): ModelToken[] {
  const tokens: ModelToken[] = []
  let inUnknown = false
  for (const part of parts) {
    const id = vocab.get(part)
    const bytes = id === undefined && byteFallback ? byteTokens(part, vocab) : undefined
    const last = tokens.at(-1)
    if (id !== undefined) tokens.push({ id, length: part.length })
    else if (bytes !== undefined)
      bytes.forEach((byte, i) => tokens.push({ id: byte, length: i === bytes.length - 1 ? part.length : 0 }))
    else if (fuse && inUnknown && last !== undefined)
      tokens[tokens.length - 1] = { id: last.id, length: last.length + part.length }
    else tokens.push({ id: unknown ?? dropped, length: part.length })
    inUnknown = id === undefined && bytes === undefined
  }
  return tokens
}

/** Stands for text that has no token at all. */
export const dropped = -1

function byteTokens(part: string, vocab: ReadonlyMap<string, number>): number[] | undefined {
  const ids: number[] = []
  for (const byte of new TextEncoder().encode(part)) {
    const id = vocab.get(byteToken(byte))
    if (id === undefined) return undefined
    ids.push(id)
  }
  return ids
}

function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`
}

interface WordPieceSettings {
  readonly vocab: ReadonlyMap<string, number>
  readonly unk_token: string
  readonly continuing_subword_prefix: string
  readonly max_input_chars_per_word: number
}

function wordPieceModel({ vocab, ...settings }: WordPieceSettings): TokenModel {
  const algorithm = new WordPiece({ type: 'WordPiece', ...settings, vocab: Object.fromEntries(vocab) })
  const prefix = settings.continuing_subword_prefix.length
  return {
    vocab,
    encode: (piece) => {
      const parts = algorithm.encode([piece])
      const lengths = parts.map((part, index) => part.length - (index > 0 ? prefix : 0))
      const whole = lengths.reduce((sum, length) => sum + length, 0) === piece.length
      const id = (part: string): number => vocab.get(part) ?? dropped
      return whole
        ? parts.map((part, index) => ({ id: id(part), length: lengths[index] ?? 0 }))
        : [{ id: id(settings.unk_token), length: piece.length }]
    },
  }
}
