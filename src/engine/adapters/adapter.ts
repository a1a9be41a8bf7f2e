/** What training changes: factors beside a frozen base (lora.ts), or the base itself (full.ts). Trainers know no more. */
import type { AdapterView } from '../nn/adapter-view.ts'
import type { Weight, WeightSource } from '../nn/weights.ts'
import type { Tensor } from '../tensor/tensor.ts'

/**
 * What is trained of a model, LoRA factors or all of the base. Made by `LoraAdapter.create`, `loadLora`, or as `FullFineTuning`.
 */
export interface Adapter {
  /** `lora`: factors beside a frozen base; `full`: the base itself. */
  readonly kind: 'lora' | 'full'
  /** f32, dense; changed in place by the optimizer. */
  readonly parameters: readonly Tensor[]
  /** The name of each in files: PEFT's, or the base model's own. */
  readonly parameterNames: readonly string[]
  /** The share of elements that are dropped while training; above 0, each row draws for itself. */
  readonly dropout: number
  /**
   * The adapter as a forward pass sees it.
   * @param parameters stand-ins for `this.parameters` while differentiating.
   * @param dropoutSeed given while training: keys the dropout, which is off without it.
   */
  view(parameters?: readonly Tensor[], dropoutSeed?: number): AdapterView
  /** Copies the parameters out, under their names. */
  tensors(): Map<string, Weight>
  /** Copies parameters in, from tensors under the same names. @throws ShadowError `invalid_file`. */
  restore(source: WeightSource): void
  /** Frees the parameters; what belongs to the model stays. */
  dispose(): void
}
