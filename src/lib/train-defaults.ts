/**
 * What a fine-tuning takes where it is told nothing else: for the settings that a run (contract/train-config.ts) and the
 * engine's own `train` have both, under the names of TRL, transformers and PEFT.
 */
export const trainDefaults = {
  /** Of supervised fine-tuning with LoRA. */
  learning_rate: 1e-3,
  num_train_epochs: 3,
  per_device_train_batch_size: 16,
  max_tokens_per_pass: 1024,
  gradient_checkpointing: false,
  max_grad_norm: 1,
  seed: 3407,
  lora_r: 16,
  lora_alpha: 32,
  lora_dropout: 0,
  target_modules: 'all',
} as const
