/** From a token back to text: the decoders of tokenizer.json, one token at a time so that replies can stream. */
import { z } from 'zod'
import { mostGrowth } from './normalizers.ts'
import { bytesOfToken } from './byte-level.ts'

/**
 * The UTF-8 bytes that a token adds to a text.
 * @param first whether the text begins with it
 */
export type TokenText = (token: string, first: boolean) => Uint8Array

const utf8 = new TextEncoder()
const byteToken = /^<0x([0-9A-F]{2})>$/i

export const byteLevelText: TokenText = (token) => bytesOfToken(token) ?? utf8.encode(token)

/** Words are set apart where a file names no decoder. */
const plainText: TokenText = (token, first) => utf8.encode(first ? token : ` ${token}`)

const metaspaceText = ({ replacement, prepends }: { replacement: string; prepends: boolean }): TokenText => {
  return (token, first) => {
    const text = token.replaceAll(replacement, ' ')
    return utf8.encode(first && prepends && text.startsWith(' ') ? text.slice(1) : text)
  }
}

// Each pair in the order of the reference, on one token with its blank.
const tidied: readonly (readonly [string, string])[] = [
  [' .', '.'],
  [' ?', '?'],
  [' !', '!'],
  [' ,', ','],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [' do not', " don't"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
]

const wordPieceText = ({ prefix, cleanup }: { prefix: string; cleanup: boolean }): TokenText => {
  return (token, first) => {
    const joins = token.startsWith(prefix)
    const text = first ? token : joins ? token.slice(prefix.length) : ` ${token}`
    return utf8.encode(cleanup ? tidied.reduce((now, [from, to]) => now.replaceAll(from, to), text) : text)
  }
}

const replace = z.object({
  type: z.literal('Replace'),
  pattern: z.strictObject({ String: z.string().min(1) }),
  content: z.string().max(mostGrowth),
})
const strip = z.object({
  type: z.literal('Strip'),
  content: z.string().length(1),
  start: z.int().min(0).max(1000),
  stop: z.literal(0),
})
const byteLevel = z.object({ type: z.literal('ByteLevel') })
const byteFallback = z.object({ type: z.literal('ByteFallback') })
const fuse = z.object({ type: z.literal('Fuse') })

type Part = z.output<typeof replace | typeof strip | typeof byteLevel | typeof byteFallback | typeof fuse>

/** The chain that SentencePiece vocabularies come with: replace, bytes, fuse, strip. */
function chainText(parts: readonly Part[]): TokenText {
  const replacements = parts.filter((part) => part.type === 'Replace')
  const strips = parts.filter((part) => part.type === 'Strip')
  if (parts.some((part) => part.type === 'ByteLevel')) return byteLevelText
  const bytes = parts.some((part) => part.type === 'ByteFallback')
  return (token, first) => {
    let text = replacements.reduce(
      (now, { pattern, content }) => now.replaceAll(pattern.String, content),
      token,
    )
    const hex = bytes ? byteToken.exec(text)?.[1] : undefined
    if (hex !== undefined) return Uint8Array.of(Number.parseInt(hex, 16))
    for (const { content, start } of first ? strips : [])
      for (let i = 0; i < start && text.startsWith(content); i++) text = text.slice(1)
    return utf8.encode(text)
  }
}

/** The `decoder` of tokenizer.json. */
export const decoder = z
  .discriminatedUnion('type', [
    byteLevel.transform(() => byteLevelText),
    z
      .object({
        type: z.literal('Metaspace'),
        replacement: z.string().length(1).default('▁'),
        prepend_scheme: z.enum(['always', 'first', 'never']).optional(),
        add_prefix_space: z.boolean().optional(),
      })
      .transform(({ replacement, prepend_scheme, add_prefix_space }) =>
        metaspaceText({
          replacement,
          prepends: (prepend_scheme ?? add_prefix_space) !== 'never' && add_prefix_space !== false,
        }),
      ),
    z
      .object({
        type: z.literal('WordPiece'),
        prefix: z.string().default('##'),
        cleanup: z.boolean().default(true),
      })
      .transform(wordPieceText),
    z
      .object({
        type: z.literal('Sequence'),
        decoders: z
          .array(z.discriminatedUnion('type', [replace, strip, byteLevel, byteFallback, fuse]))
          .max(64)
          .refine(
            (decoders) =>
              decoders.reduce(
                (growth, part) => growth * (part.type === 'Replace' ? Math.max(1, part.content.length) : 1),
                1,
              ) <= mostGrowth,
            `may make tokens more than ${mostGrowth} times longer`,
          ),
      })
      .transform(({ decoders }) => chainText(decoders)),
  ])
  .nullish()
  .transform((text): TokenText => text ?? plainText)
