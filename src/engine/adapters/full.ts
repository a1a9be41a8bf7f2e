/**
 * Full fine-tuning: every tensor of the base is trained, in place. Generation and evaluation see the change at once;
 * there is no base to go back to but its file.
 */
import { ShadowError } from '../../lib/error.ts'
import type { CausalLM } from '../models/causal-lm.ts'
import type { AdapterView } from '../nn/adapter-view.ts'
import type { BaseTensor } from '../nn/base-tensor.ts'
import type { Weight, WeightSource } from '../nn/weights.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { Adapter } from './adapter.ts'

/** Tensors that training holds for each parameter beside itself: its gradient, summed, and AdamW's two moments. */
const heldBeside = 3

/** All tensors of a model as what is trained. Learning rates are a tenth to a hundredth of LoRA's. */
export class FullFineTuning implements Adapter {
  readonly kind = 'full'
  readonly dropout = 0
  /** The model's own tensors, f32, in the order of its layers; layers that lie in one matrix are one tensor. */
  readonly parameters: readonly Tensor[]
  /** The names of the file's tensors that lie in each, joined by `+`. */
  readonly parameterNames: readonly string[]
  readonly #model: CausalLM
  readonly #base: readonly BaseTensor[]

  /** @throws ShadowError `invalid_config` for a base that is quantised in memory */
  constructor(model: CausalLM) {
    this.#model = model
    this.#base = model.baseTensors()
    const packed = this.#base.find(({ packing }) => packing !== null)
    if (packed !== undefined)
      throw new ShadowError(
        'invalid_config',
        `${packed.parts[0]?.name} is quantised; it cannot be trained.`,
        {
          hint: 'Load the base in float32 for full fine-tuning, or train an adapter.',
        },
      )
    this.parameters = this.#base.map(({ tensor }) => tensor)
    this.parameterNames = this.#base.map(({ parts }) => parts.map(({ name }) => name).join('+'))
  }

  /** How much memory training takes for weights, gradients and AdamW's moments, in bytes; activations come on top. */
  get trainingBytes(): number {
    return (1 + heldBeside) * 4 * this.parameters.reduce((sum, { size }) => sum + size, 0)
  }

  /** Under the names of the base model's files. */
  tensors(): Map<string, Weight> {
    return new Map(
      this.#base.flatMap(({ tensor, parts }) => {
        const values = tensor.toFloat32Array()
        let at = 0
        return parts.map(({ name, shape }): [string, Weight] => {
          const from = at
          at += sizeOf(shape)
          return [name, { shape, data: values.subarray(from, at) }]
        })
      }),
    )
  }

  /**
   * Copies weights in under Hugging Face's names, in place. @throws ShadowError `invalid_file` naming the tensor
   */
  restore(source: WeightSource): void {
    const { runtime } = this.#model
    runtime.tidy(() => {
      const values = this.#base.map(({ tensor, parts }) => {
        const whole = new Float32Array(tensor.size)
        let at = 0
        for (const { name, shape } of parts) {
          whole.set(read(source, name, shape), at)
          at += sizeOf(shape)
        }
        return runtime.fromFloat32(whole, tensor.shape)
      })
      runtime.copyInPlace(this.parameters, values)
    })
  }

  /** The model as a forward pass sees it. @param parameters stand-ins while differentiating */
  view(parameters: readonly Tensor[] = this.parameters): AdapterView {
    return {
      factors: () => null,
      scale: () => 1,
      gain: () => null,
      weights: new Map(this.parameters.map((tensor, index) => [tensor, parameters[index] ?? tensor])),
    }
  }

  /** The tensors are the model's. */
  dispose(): void {}
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, axis) => product * axis, 1)
}

function read(source: WeightSource, name: string, shape: readonly number[]): Float32Array {
  const weight = source.get(name)
  if (weight === undefined || weight.shape.join() !== shape.join() || weight.data.length !== sizeOf(shape))
    throw new ShadowError('invalid_file', `There is no tensor ${name} of shape [${shape.join(', ')}].`, {
      hint: 'The files belong to another model.',
    })
  return weight.data
}
