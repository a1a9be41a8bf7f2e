/**
 * The normalisers of tokenizer.json. How to add one: a member of `steps` with its fields, which becomes a
 * function on aligned text; its ids belong in tests/fixtures/scripts/conversations.py.
 */
import { z } from 'zod'
import { type AlignedText, prependAligned, replaceAligned } from './aligned-text.ts'
import { toByteLevel } from './byte-level.ts'
import { pattern } from './pattern.ts'

export type TextStep = (text: AlignedText) => AlignedText

/** A character with all that may join it: marks, and the vowels and finals of Hangul. */
const cluster = /[\s\S](?:\p{M}|[\u1160-\u11ff])*/gu

const form = (name: 'NFC' | 'NFD' | 'NFKC' | 'NFKD'): TextStep => {
  return (text) => replaceAligned(text, cluster, (match) => match.normalize(name))
}

// One character at a time: a whole text's toLowerCase() minds the end of a Greek word.
const lowercase: TextStep = (text) =>
  replaceAligned(text, /\p{Changes_When_Lowercased}/gu, (c) => c.toLowerCase())

const removed = (what: RegExp): TextStep => {
  return (text) => replaceAligned(text, what, () => '')
}

const inTurn = (steps: readonly TextStep[]): TextStep => {
  return (text) => steps.reduce((now, step) => step(now), text)
}

/** Control characters that SentencePiece keeps, or makes blanks of: NUL, tab, line ends, most of C1. */
const isKeptControl = (code: number): boolean =>
  code === 0 || code === 9 || code === 10 || code === 12 || code === 13 || (code > 0x7f && code % 16 !== 15)

/** SentencePiece's clean-up: control characters go, odd blanks become plain ones. */
const nmt = inTurn([
  (text) => replaceAligned(text, /\p{Cc}/gu, (c) => (isKeptControl(c.charCodeAt(0)) ? c : '')),
  (text) => replaceAligned(text, /[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g, () => ' '),
])

const cjk =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu

interface BertSettings {
  clean_text: boolean
  handle_chinese_chars: boolean
  strip_accents?: boolean | null | undefined
  lowercase: boolean
}

function bert({ clean_text, handle_chinese_chars, strip_accents, lowercase: lower }: BertSettings): TextStep {
  const steps: TextStep[] = []
  if (clean_text) {
    steps.push(removed(/(?![\t\n\r])[\p{C}\ufffd]/gu))
    steps.push((text) => replaceAligned(text, /\p{White_Space}/gu, () => ' '))
  }
  if (handle_chinese_chars) steps.push((text) => replaceAligned(text, cjk, (c) => ` ${c} `))
  if (strip_accents ?? lower) steps.push(form('NFD'), removed(/\p{Mn}/gu))
  if (lower) steps.push(lowercase)
  return inTurn(steps)
}

/** A step, and how many times longer it may make a text. */
interface GrowingStep {
  readonly step: TextStep
  readonly growth: number
}

/** A chain of steps may do no more: thirty that double a text would fill any memory. */
export const mostGrowth = 100

const growing = (growth: number, step: TextStep): GrowingStep => ({ step, growth })

const steps = [
  z.object({ type: z.literal('NFC') }).transform(() => growing(3, form('NFC'))),
  z.object({ type: z.literal('NFD') }).transform(() => growing(4, form('NFD'))),
  z.object({ type: z.literal('NFKC') }).transform(() => growing(18, form('NFKC'))),
  z.object({ type: z.literal('NFKD') }).transform(() => growing(18, form('NFKD'))),
  z.object({ type: z.literal('Lowercase') }).transform(() => growing(2, lowercase)),
  z.object({ type: z.literal('StripAccents') }).transform(() => growing(1, removed(/\p{M}/gu))),
  z.object({ type: z.literal('Nmt') }).transform(() => growing(1, nmt)),
  z.object({ type: z.literal('ByteLevel') }).transform(() => growing(3, toByteLevel)),
  z
    .object({ type: z.literal('Prepend'), prepend: z.string().max(mostGrowth) })
    .transform(({ prepend }) =>
      growing(1, (text) => (text.text === '' ? text : prependAligned(text, prepend))),
    ),
  z
    .object({ type: z.literal('Replace'), pattern, content: z.string().max(mostGrowth) })
    .transform(({ pattern, content }) =>
      growing(replacementGrowth(pattern, content), (text) => replaceAligned(text, pattern, () => content)),
    ),
  z
    .object({ type: z.literal('Strip'), strip_left: z.boolean(), strip_right: z.boolean() })
    .transform(({ strip_left, strip_right }) =>
      growing(
        1,
        inTurn([
          ...(strip_left ? [removed(/^\p{White_Space}+/gu)] : []),
          ...(strip_right ? [removed(/\p{White_Space}+$/gu)] : []),
        ]),
      ),
    ),
  z
    .object({
      type: z.literal('BertNormalizer'),
      clean_text: z.boolean(),
      handle_chinese_chars: z.boolean(),
      strip_accents: z.boolean().nullish(),
      lowercase: z.boolean(),
    })
    .transform((settings) => growing(8, bert(settings))),
] as const

/** A normaliser, or a flat sequence of them (sequences in sequences are not written by any tool). */
export const normalizer = z
  .discriminatedUnion('type', [
    ...steps,
    z
      .object({
        type: z.literal('Sequence'),
        normalizers: z.array(z.discriminatedUnion('type', steps)).max(64),
      })
      .transform(({ normalizers }) =>
        growing(
          normalizers.reduce((product, { growth }) => product * growth, 1),
          inTurn(normalizers.map(({ step }) => step)),
        ),
      ),
  ])
  .refine(({ growth }) => growth <= mostGrowth, `may make texts more than ${mostGrowth} times longer`)
  .transform(({ step }) => step)
  .nullable()

/** A pattern that matches nothing, too, puts its replacement between all characters. */
function replacementGrowth(pattern: RegExp, content: string): number {
  const matchesNothing = ''.replace(pattern, 'x') !== ''
  return Math.max(1, content.length + (matchesNothing ? 1 : 0))
}
