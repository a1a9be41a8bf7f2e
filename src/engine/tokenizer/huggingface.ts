/**
 * The parts of @huggingface/tokenizers that are used. Its declarations name no file endings, so TypeScript
 * does not find them under `nodenext`.
 */
import { BPE, SplitPreTokenizer, Unigram, WordPiece } from '@huggingface/tokenizers'

declare module '@huggingface/tokenizers' {
  export class BPE {
    constructor(config: {
      type: 'BPE'
      vocab: Record<string, number>
      merges: readonly [string, string][]
      ignore_merges: boolean
    })
    /** The parts that the merges leave of one piece. */
    bpe(piece: string): string[]
  }
  export class Unigram {
    constructor(config: { type: 'Unigram'; vocab: readonly [string, number][]; unk_id: number }, eos: string)
    /** The best parts of one piece; a character that the vocabulary lacks is a part of its own. */
    tokenize(piece: string): string[]
  }
  export class WordPiece {
    constructor(config: {
      type: 'WordPiece'
      vocab: Record<string, number>
      unk_token: string
      continuing_subword_prefix: string
      max_input_chars_per_word: number
    })
    encode(pieces: readonly string[]): string[]
  }
  export class SplitPreTokenizer {
    constructor(config: {
      type: 'Split'
      pattern: { Regex: string }
      behavior: 'Isolated'
      invert: boolean
    })
    /** The pattern, rewritten from Oniguruma's syntax, with the flags g and u. */
    readonly pattern: RegExp | null
  }
}

export { BPE, SplitPreTokenizer, Unigram, WordPiece }
