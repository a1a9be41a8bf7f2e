/**
 * The settings of a Llama-family model, under the names of Hugging Face's `config.json`, whichever file
 * they were read from.
 */
export interface LlamaConfig {
  readonly model_type: 'llama'
  readonly hidden_size: number
  readonly intermediate_size: number
  readonly num_hidden_layers: number
  readonly num_attention_heads: number
  readonly num_key_value_heads: number
  readonly head_dim: number
  readonly rms_norm_eps: number
  readonly rope_theta: number
  readonly vocab_size: number
  /** The LM head is the embedding matrix. */
  readonly tie_word_embeddings: boolean
  /** The longest sequence, in tokens, that the model was made for. */
  readonly max_position_embeddings: number
  readonly bos_token_id: number | undefined
  readonly eos_token_id: number | undefined
}

/** A tensor in a file, decoded when it is asked for. */
export interface StoredTensor {
  /** Row-major, outermost first. */
  readonly shape: readonly number[]
  /** How the file stores it: `F32`, `Q4_1`, … */
  readonly storedAs: string
  /** Reads and decodes the tensor; each call reads again, so that one tensor is in memory at a time. */
  read(): Float32Array<ArrayBuffer>
}
