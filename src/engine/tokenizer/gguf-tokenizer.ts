/** The tokenizer of a GGUF file: byte-level BPE under llama.cpp's names. */
import { ShadowError } from '../../lib/error.ts'
import type { GgufTokenizer } from '../io/gguf.ts'
import type { AddedToken } from './added-tokens.ts'
import { bytesOfToken } from './byte-level.ts'
import { ggufPreTokenizers, preTokenizer } from './pre-tokenizers.ts'
import { bpeModel } from './token-model.ts'
import { byteLevelText } from './token-text.ts'
import { Tokenizer } from './tokenizer.ts'

/** llama.cpp's token types that are matched as a whole in a text. */
const controlType = 3
const userDefinedType = 4

/**
 * @param source a GGUF file's tokenizer metadata
 * @throws ShadowError `invalid_file` for a tokenizer that is damaged or of a kind that is not supported
 */
export function ggufTokenizer(source: GgufTokenizer): Tokenizer {
  const pretokenizers = ggufPreTokenizers.get(source.pre)
  if (source.model !== 'gpt2' || pretokenizers === undefined)
    throw new ShadowError(
      'invalid_file',
      `The tokenizer ${source.model} with pre-tokenizer ${source.pre} is not supported.`,
      { hint: `Byte-level BPE (gpt2) with ${[...ggufPreTokenizers.keys()].join(' or ')} is.` },
    )
  const added = source.tokens.flatMap((content, id): AddedToken[] => {
    const type = source.tokenTypes[id]
    if (type !== controlType && type !== userDefinedType) return []
    const special = type === controlType
    return [{ id, content, special, singleWord: false, lstrip: false, rstrip: false, normalized: false }]
  })
  const addedIds = new Set(added.map((token) => token.id))
  const vocab = new Map(source.tokens.map((token, id) => [token, id]))
  if (vocab.size !== source.tokens.length) throw damaged('two tokens are the same')
  source.tokens.forEach((token, id) => {
    if (!addedIds.has(id) && bytesOfToken(token) === undefined)
      throw damaged(`token ${id} is not written in the byte-level alphabet`)
  })
  const names = {
    bos_token: source.bosTokenId,
    eos_token: source.eosTokenId,
    pad_token: source.paddingTokenId,
  }
  const named = Object.entries(names).flatMap(([name, id]): [string, string][] => {
    const token = id === undefined ? undefined : source.tokens[id]
    return token === undefined ? [] : [[name, token]]
  })
  return new Tokenizer({
    normalize: undefined,
    split: preTokenizer.parse({ type: 'Sequence', pretokenizers }) ?? undefined,
    model: bpeModel({ vocab, merges: readMerges(source.merges) }),
    added,
    text: byteLevelText,
    named: new Map(named),
  })
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
