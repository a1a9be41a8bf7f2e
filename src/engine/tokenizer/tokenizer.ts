/** Text to token ids and back, for byte-level BPE vocabularies. */
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import { ShadowError } from '../../lib/error.ts'
import type { GgufTokenizer } from '../io/gguf.ts'
import { bytesOfToken } from './byte-level.ts'
import { preTokenizers } from './pre-tokenizers.ts'

/** llama.cpp's token types that are matched as a whole in a text. */
const controlType = 3
const userDefinedType = 4

export interface EncodedText {
  readonly ids: Int32Array
  /** For each token its first byte in the UTF-8 text. */
  readonly byteStarts: Int32Array
  /** For each token the byte behind its last one. */
  readonly byteEnds: Int32Array
}

/**
 * A vocabulary with its rules. Special tokens written out in a text (`<|im_end|>`) become those tokens, as
 * in Hugging Face's tokenizers; no token is ever added at the ends.
 */
export class Tokenizer {
  readonly vocabSize: number
  readonly bosTokenId: number | undefined
  /** The token that ends an assistant's turn. */
  readonly eosTokenId: number | undefined
  readonly padTokenId: number | undefined
  readonly #bpe: HuggingFaceTokenizer
  readonly #tokens: readonly string[]
  readonly #bytes: readonly Uint8Array[]
  readonly #special: ReadonlySet<number>

  /**
   * @param source a GGUF file's tokenizer metadata
   * @throws ShadowError `invalid_file` for a tokenizer that is damaged or of a kind that is not supported
   */
  constructor(source: GgufTokenizer) {
    const steps = preTokenizers.get(source.pre)
    if (source.model !== 'gpt2' || steps === undefined)
      throw new ShadowError(
        'invalid_file',
        `The tokenizer ${source.model} with pre-tokenizer ${source.pre} is not supported.`,
        { hint: `Byte-level BPE (gpt2) with ${[...preTokenizers.keys()].join(' or ')} is.` },
      )
    const added = source.tokens.flatMap((content, id) => {
      const type = source.tokenTypes[id]
      if (type !== controlType && type !== userDefinedType) return []
      return [{ id, content, special: type === controlType, normalized: false }]
    })
    const addedIds = new Set(added.map((token) => token.id))
    const vocab = new Map(source.tokens.map((token, id) => [token, id]))
    if (vocab.size !== source.tokens.length) throw damaged('two tokens are the same')
    const text = new TextEncoder()
    this.#bytes = source.tokens.map((token, id) => {
      const bytes = addedIds.has(id) ? text.encode(token) : bytesOfToken(token)
      if (bytes === undefined) throw damaged(`token ${id} is not written in the byte-level alphabet`)
      return bytes
    })
    this.#bpe = new HuggingFaceTokenizer(
      {
        normalizer: null,
        pre_tokenizer: { type: 'Sequence', pretokenizers: steps },
        model: { type: 'BPE', vocab: Object.fromEntries(vocab), merges: readMerges(source.merges) },
        post_processor: null,
        decoder: null,
        added_tokens: added,
      },
      { clean_up_tokenization_spaces: false },
    )
    this.#tokens = source.tokens
    this.#special = new Set(added.filter((token) => token.special).map((token) => token.id))
    this.vocabSize = source.tokens.length
    this.bosTokenId = source.bosTokenId
    this.eosTokenId = source.eosTokenId
    this.padTokenId = source.paddingTokenId
  }

  /** The token ids of a text. */
  encode(text: string): Int32Array {
    return Int32Array.from(this.#bpe.encode(text, { add_special_tokens: false }).ids)
  }

  /** The token ids of a text, with where each token starts. */
  encodeWithOffsets(text: string): EncodedText {
    const ids = this.encode(text)
    const whole = new TextEncoder().encode(text)
    const byteStarts = new Int32Array(ids.length)
    const byteEnds = new Int32Array(ids.length)
    let at = 0
    ids.forEach((id, index) => {
      const token = this.#bytesOf(id)
      // A byte that the vocabulary cannot write has no token and is passed over.
      while (at < whole.length && !startsWithAt(whole, token, at)) at++
      byteStarts[index] = at
      at += token.length
      byteEnds[index] = at
    })
    return { ids, byteStarts, byteEnds }
  }

  /** The text of token ids; bytes that are not UTF-8 become U+FFFD. */
  decode(ids: Iterable<number>, { skipSpecialTokens = false }: DecodeOptions = {}): string {
    const stream = this.decodeStream({ skipSpecialTokens })
    let text = ''
    for (const id of ids) text += stream.push(id)
    return text + stream.flush()
  }

  /** Decodes tokens as they are sampled: no character is given out before all of its bytes are there. */
  decodeStream({ skipSpecialTokens = false }: DecodeOptions = {}): DecodeStream {
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
    return {
      push: (id) =>
        skipSpecialTokens && this.#special.has(id) ? '' : decoder.decode(this.#bytesOf(id), { stream: true }),
      flush: () => decoder.decode(),
    }
  }

  /** Whether a token is a control token (`<|im_end|>`), not text. */
  isSpecial(id: number): boolean {
    return this.#special.has(id)
  }

  /** The id of a token as the vocabulary spells it. */
  idOf(token: string): number | undefined {
    return this.#bpe.token_to_id(token)
  }

  /** A token as the vocabulary spells it. */
  tokenOf(id: number): string | undefined {
    return this.#tokens[id]
  }

  #bytesOf(id: number): Uint8Array {
    const bytes = this.#bytes[id]
    if (bytes !== undefined) return bytes
    throw new ShadowError('invalid_request', `Token ${id} is not in the vocabulary of ${this.vocabSize}.`)
  }
}

export interface DecodeOptions {
  /** Leave control tokens out of the text. Default false. */
  readonly skipSpecialTokens?: boolean
}

export interface DecodeStream {
  /** The text that became complete with this token; often '' inside a character of several bytes. */
  push(id: number): string
  /** What is left at the end; U+FFFD for a character that never became complete. */
  flush(): string
}

function readMerges(merges: readonly string[]): [string, string][] {
  return merges.map((merge, rank) => {
    const [left, right, ...more] = merge.split(' ')
    if (!left || !right || more.length > 0) throw damaged(`merge ${rank} is not a pair`)
    return [left, right]
  })
}

function damaged(problem: string): ShadowError {
  return new ShadowError('invalid_file', `The tokenizer is damaged: ${problem}.`, {
    hint: 'Fetch the model file again.',
  })
}

function startsWithAt(whole: Uint8Array, part: Uint8Array, at: number): boolean {
  for (let i = 0; i < part.length; i++) if (whole[at + i] !== part[i]) return false
  return true
}
