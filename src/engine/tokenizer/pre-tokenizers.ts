/**
 * The pre-tokenizers of tokenizer.json, and those of GGUF files by llama.cpp's names. How to add one: a
 * member of `steps`, or an entry of `ggufPreTokenizers` with the patterns of llama.cpp's table of the same
 * name; its ids belong in a fixture.
 */
import { z } from 'zod'
import { type AlignedText, prependAligned, replaceAligned } from './aligned-text.ts'
import { toByteLevel } from './byte-level.ts'
import { mostGrowth } from './normalizers.ts'
import { literally, pattern } from './pattern.ts'
import { splitAligned, splitBehaviors } from './split.ts'

export type SplitStep = (text: AlignedText) => readonly AlignedText[]

// \p{White_Space} is what \s means to the reference implementations; JavaScript's own \s differs at
// U+0085 and U+FEFF.
const gpt2Words =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu

const punctuation = /[\p{P}!-/:-@[-`{-~]/gu
const whitespace = /\p{White_Space}/gu

const inTurn = (steps: readonly SplitStep[]): SplitStep => {
  return (text) => steps.reduce<readonly AlignedText[]>((pieces, step) => pieces.flatMap(step), [text])
}

interface ByteLevelSettings {
  add_prefix_space: boolean
  use_regex: boolean
}

const byteLevel = ({ add_prefix_space, use_regex }: ByteLevelSettings): SplitStep => {
  return (text) => {
    const whole = add_prefix_space && !text.text.startsWith(' ') ? prependAligned(text, ' ') : text
    return (use_regex ? splitAligned(whole, gpt2Words, 'Isolated') : [whole]).map(toByteLevel)
  }
}

interface MetaspaceSettings {
  replacement: string
  prepend_scheme: 'always' | 'first' | 'never'
  split: boolean
}

const metaspace = ({ replacement, prepend_scheme, split }: MetaspaceSettings): SplitStep => {
  const mark = literally(replacement)
  return (text) => {
    const marked = replaceAligned(text, / /g, () => replacement)
    const prepends =
      !marked.text.startsWith(replacement) &&
      (prepend_scheme === 'always' || (prepend_scheme === 'first' && marked.starts[0] === 0))
    const whole = prepends ? prependAligned(marked, replacement) : marked
    return split ? splitAligned(whole, mark, 'MergedWithNext') : [whole]
  }
}

const behavior = z.enum(splitBehaviors)

const steps = [
  z
    .object({
      type: z.literal('ByteLevel'),
      add_prefix_space: z.boolean().default(true),
      use_regex: z.boolean().default(true),
    })
    .transform(byteLevel),
  z
    .object({
      type: z.literal('Metaspace'),
      replacement: z.string().length(1).default('▁'),
      prepend_scheme: z.enum(['always', 'first', 'never']).optional(),
      /** Files from before `prepend_scheme`. */
      add_prefix_space: z.boolean().optional(),
      split: z.boolean().default(true),
    })
    .transform(({ prepend_scheme, add_prefix_space, ...rest }) =>
      metaspace({
        ...rest,
        prepend_scheme: prepend_scheme ?? (add_prefix_space === false ? 'never' : 'always'),
      }),
    ),
  z.object({ type: z.literal('Split'), pattern, behavior, invert: z.boolean().default(false) }).transform(
    ({ pattern, behavior, invert }): SplitStep =>
      (text) =>
        splitAligned(text, pattern, behavior, invert),
  ),
  z.object({ type: z.literal('Digits'), individual_digits: z.boolean().default(false) }).transform(
    ({ individual_digits }): SplitStep =>
      (text) =>
        splitAligned(text, /\p{N}/gu, individual_digits ? 'Isolated' : 'Contiguous'),
  ),
  z.object({ type: z.literal('Punctuation'), behavior: behavior.default('Isolated') }).transform(
    ({ behavior }): SplitStep =>
      (text) =>
        splitAligned(text, punctuation, behavior),
  ),
  z
    .object({ type: z.literal('Whitespace') })
    .transform(
      (): SplitStep => (text) =>
        splitAligned(
          text,
          /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\u200c\u200d]+|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\u200c\u200d\p{White_Space}]+/gu,
          'Removed',
          true,
        ),
    ),
  z
    .object({ type: z.literal('WhitespaceSplit') })
    .transform((): SplitStep => (text) => splitAligned(text, whitespace, 'Removed')),
  z
    .object({ type: z.literal('BertPreTokenizer') })
    .transform(() =>
      inTurn([
        (text) => splitAligned(text, whitespace, 'Removed'),
        (text) => splitAligned(text, punctuation, 'Isolated'),
      ]),
    ),
] as const

/** How many times longer a step may make a text: bytes that are characters again, marks before every piece. */
const growth: ReadonlyMap<string, number> = new Map([
  ['ByteLevel', 4],
  ['Metaspace', 2],
])

/** A pre-tokenizer, or a flat sequence of them (sequences in sequences are not written by any tool). */
export const preTokenizer = z
  .discriminatedUnion('type', [
    ...steps,
    z
      .object({
        type: z.literal('Sequence'),
        pretokenizers: z
          .array(z.looseObject({ type: z.string() }))
          .max(64)
          .refine(
            (chain) =>
              chain.reduce((product, { type }) => product * (growth.get(type) ?? 1), 1) <= mostGrowth,
            `may make texts more than ${mostGrowth} times longer`,
          )
          .pipe(z.array(z.discriminatedUnion('type', steps))),
      })
      .transform(({ pretokenizers }) => inTurn(pretokenizers)),
  ])
  .nullable()

const splitAt = (source: string): object => ({
  type: 'Split',
  pattern: { Regex: source },
  behavior: 'Isolated',
  invert: false,
})

const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false }
const gpt2Steps = [splitAt(gpt2Words.source), bytes]

/** Words with the one character before them, digits one by one, line breaks apart: Qwen 2 and 3. */
const qwen2Words = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

/** Name in `tokenizer.ggml.pre` → the steps of a `Sequence` in tokenizer.json. */
export const ggufPreTokenizers: ReadonlyMap<string, readonly object[]> = new Map([
  ['gpt-2', gpt2Steps],
  ['qwen2', [splitAt(qwen2Words), bytes]],
  // Digits one by one first: the blanks before a digit are then a run of their own.
  ['smollm', [splitAt(String.raw`\p{N}`), ...gpt2Steps]],
])
