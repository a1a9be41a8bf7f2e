import type { ModelConfig } from '../../src/engine/models/family.ts'

/** Configurations of models that are larger than the default one. */
export interface Shape {
  name: string
  what: string
  config: ModelConfig
}

export const shapes: readonly Shape[] = [
  {
    name: '0.5b',
    what: "0.5 billion parameters (Qwen2.5-0.5B's shape)",
    config: {
      model_type: 'qwen2',
      architectures: ['Qwen2ForCausalLM'],
      vocab_size: 151_936,
      hidden_size: 896,
      intermediate_size: 4864,
      num_hidden_layers: 24,
      num_attention_heads: 14,
      num_key_value_heads: 2,
      rms_norm_eps: 1e-6,
      rope_theta: 1_000_000,
      max_position_embeddings: 32_768,
      tie_word_embeddings: true,
      hidden_act: 'silu',
    },
  },
  {
    name: '1.7b',
    what: "1.7 billion parameters (SmolLM2-1.7B's shape)",
    config: {
      model_type: 'llama',
      architectures: ['LlamaForCausalLM'],
      vocab_size: 49_152,
      hidden_size: 2048,
      intermediate_size: 8192,
      num_hidden_layers: 24,
      num_attention_heads: 32,
      num_key_value_heads: 32,
      rms_norm_eps: 1e-5,
      rope_theta: 130_000,
      max_position_embeddings: 8192,
      tie_word_embeddings: true,
      hidden_act: 'silu',
    },
  },
]
