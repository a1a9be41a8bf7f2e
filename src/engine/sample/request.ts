/** What is asked of the generator and what it answers. */
import { ShadowError } from '../../lib/error.ts'

/** One sequence to generate. */
export interface GenerateRequest {
  /** Not empty. */
  promptIds: readonly number[] | Int32Array
  /** Tokens to generate at most. */
  maxTokens: number
  /** 0 is greedy. */
  temperature: number
  /** 1 keeps every token. */
  topP: number
  /** Decides all random choices of this request. Default 0. */
  seed?: number
  /** Generation ends when one of these is drawn; it is not part of the result. */
  stopIds: readonly number[]
  /** A registered adapter's name; null or absent is the base model. */
  adapter?: string | null
  /** Called for each token of the result, as it is drawn. */
  onToken?: (id: number, logprob: number) => void
  /** Aborting rejects the promise with the signal's reason. */
  signal?: AbortSignal
}

/** What was generated. */
export interface GenerateResult {
  /** Without the stop id. */
  ids: number[]
  /** Natural log-probability of each token under the untruncated softmax at temperature 1. */
  logprobs: number[]
  /** `stop`: a stop id was drawn; `length`: maxTokens or the context ended it. */
  finishReason: 'stop' | 'length'
  /** Prompt tokens whose keys and values came from an earlier sequence. */
  cachedTokens: number
}

/** @throws ShadowError `invalid_request` that names what is wrong. */
export function checkRequest(request: GenerateRequest, maxContext: number, vocabularySize: number): void {
  const { promptIds, maxTokens, temperature, topP } = request
  const wrong = (message: string, hint?: string): ShadowError =>
    new ShadowError('invalid_request', message, hint === undefined ? {} : { hint })
  if (promptIds.length === 0) throw wrong('The prompt is empty.')
  if (promptIds.length >= maxContext)
    throw wrong(
      `The prompt has ${promptIds.length} tokens, the context is ${maxContext}.`,
      'Shorten the conversation.',
    )
  for (const id of promptIds)
    if (!Number.isInteger(id) || id < 0 || id >= vocabularySize)
      throw wrong(`Token id ${id} is outside the vocabulary of ${vocabularySize}.`)
  if (!Number.isInteger(maxTokens) || maxTokens < 1) throw wrong('max_tokens must be a positive integer.')
  if (!(temperature >= 0)) throw wrong('temperature must be 0 or more.')
  if (!(topP > 0 && topP <= 1)) throw wrong('top_p must be above 0 and at most 1.')
}
