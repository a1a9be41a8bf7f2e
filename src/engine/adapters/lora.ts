/**
 * LoRA (arXiv 2106.09685) with PEFT's semantics: A (r, in) drawn kaiming-uniform with a = √5, which is uniform
 * in ±1/√in; B (out, r) zero; the product is scaled by lora_alpha / r.
 */
import { ShadowError } from '../../lib/error.ts'
import type { CausalLM } from '../models/causal-lm.ts'
import type { LinearSpec, LoraView } from '../nn/projections.ts'
import type { Weight, WeightSource } from '../nn/weights.ts'
import type { LoraFactors } from '../tensor/fused.ts'
import { key, split, uniform } from '../tensor/random.ts'
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'

/** Some families have one layer for queries, keys and values, and one for gate and up. */
const attentionModules = ['q_proj', 'k_proj', 'v_proj', 'qkv_proj', 'o_proj']
const mlpModules = ['gate_proj', 'up_proj', 'gate_up_proj', 'down_proj']

export type TargetModules = 'all' | 'attention' | 'mlp' | readonly string[]

/** PEFT's names; defaults are the caller's business (TrainConfig). */
export interface LoraConfig {
  r: number
  lora_alpha: number
  lora_dropout: number
  target_modules: TargetModules
}

/** The last path components that a preset stands for; a model has some of them. */
export function targetModuleNames(target: TargetModules): string[] {
  if (target === 'all') return [...attentionModules, ...mlpModules]
  if (target === 'attention') return [...attentionModules]
  if (target === 'mlp') return [...mlpModules]
  return [...target]
}

function peftName(path: string, factor: 'A' | 'B'): string {
  return `base_model.model.${path}.lora_${factor}.weight`
}

/** One adapter for one base model. Its parameters are changed in place by the optimizer. */
export class LoraAdapter {
  readonly config: LoraConfig
  /** The adapted layers, in the model's order. */
  readonly linears: readonly LinearSpec[]
  readonly #runtime: Runtime
  readonly #parameters: Tensor[]
  readonly #indexOf: Map<string, number>

  private constructor(
    runtime: Runtime,
    config: LoraConfig,
    linears: readonly LinearSpec[],
    parameters: Tensor[],
  ) {
    this.#runtime = runtime
    this.config = config
    this.linears = linears
    this.#parameters = runtime.keep(parameters)
    this.#indexOf = new Map(linears.map((linear, index) => [linear.path, index]))
  }

  /** A fresh adapter; the same for the same seed. */
  static create(model: CausalLM, config: LoraConfig, seed: number): LoraAdapter {
    const linears = adapted(model, config)
    const parameters = model.runtime.tidy(() => {
      let next = key(model.runtime, seed)
      return linears.flatMap(({ inFeatures, outFeatures }) => {
        const [own, rest] = split(next)
        next = rest
        const bound = 1 / Math.sqrt(inFeatures)
        const a = uniform(own, -bound, bound, [config.r, inFeatures]).toFloat32Array()
        return [
          model.runtime.fromFloat32(a, [config.r, inFeatures]),
          model.runtime.zeros([outFeatures, config.r]),
        ]
      })
    })
    return new LoraAdapter(model.runtime, config, linears, parameters)
  }

  /** From tensors under PEFT's names, each (r, in) or (out, r). @throws ShadowError `invalid_file`. */
  static fromTensors(model: CausalLM, config: LoraConfig, source: WeightSource): LoraAdapter {
    const linears = adapted(model, config)
    const parameters = linears.flatMap(({ path, inFeatures, outFeatures }) => [
      readFactor(model.runtime, source, peftName(path, 'A'), [config.r, inFeatures]),
      readFactor(model.runtime, source, peftName(path, 'B'), [outFeatures, config.r]),
    ])
    return new LoraAdapter(model.runtime, config, linears, parameters)
  }

  /** lora_alpha / r. */
  get scale(): number {
    return this.config.lora_alpha / this.config.r
  }

  /** A and B of each adapted layer in turn, f32, dense. */
  get parameters(): readonly Tensor[] {
    return this.#parameters
  }

  /** PEFT's name of each parameter, in the order of `parameters`. */
  get parameterNames(): string[] {
    return this.linears.flatMap(({ path }) => [peftName(path, 'A'), peftName(path, 'B')])
  }

  /** Copies the parameters out, under PEFT's names. */
  tensors(): Map<string, Weight> {
    const names = this.parameterNames
    return new Map(
      this.#parameters.map((tensor, index) => [
        names[index] ?? '',
        { shape: tensor.shape, data: tensor.toFloat32Array() },
      ]),
    )
  }

  /**
   * The adapter as a forward pass sees it.
   * @param parameters stand-ins for `this.parameters` while differentiating.
   * @param dropoutSeed given while training: keys the dropout, which is off without it.
   */
  view(parameters: readonly Tensor[] = this.#parameters, dropoutSeed?: number): LoraView {
    const factors = (path: string): LoraFactors | null => {
      const index = this.#indexOf.get(path)
      const a = index === undefined ? undefined : parameters[2 * index]
      const b = index === undefined ? undefined : parameters[2 * index + 1]
      return a === undefined || b === undefined ? null : { a, b }
    }
    if (dropoutSeed === undefined || this.config.lora_dropout === 0) return { factors, scale: this.scale }
    let next = key(this.#runtime, dropoutSeed)
    const nextKey = (): Tensor => {
      const [own, rest] = split(next)
      next = rest
      return own
    }
    return { factors, scale: this.scale, dropout: { probability: this.config.lora_dropout, nextKey } }
  }

  dispose(): void {
    for (const parameter of this.#parameters) parameter.dispose()
  }
}

function adapted(model: CausalLM, config: LoraConfig): LinearSpec[] {
  const names = targetModuleNames(config.target_modules)
  const linears = model.linears.filter(({ path }) => names.some((name) => path.endsWith(`.${name}`)))
  const isPreset = typeof config.target_modules === 'string'
  const missing = names.filter((name) => !linears.some(({ path }) => path.endsWith(`.${name}`)))
  if (!isPreset && missing.length > 0)
    throw new ShadowError('invalid_config', `The model has no layer named ${missing.join(', ')}.`, {
      hint: `target_modules may name: ${[...new Set(model.linears.map(({ path }) => path.split('.').at(-1)))].join(', ')}.`,
    })
  return linears
}

function readFactor(runtime: Runtime, source: WeightSource, name: string, shape: readonly number[]): Tensor {
  const weight = source.get(name)
  if (weight === undefined)
    throw new ShadowError('invalid_file', `The adapter has no tensor ${name}.`, {
      hint: 'It was made for another base model, or its target_modules differ from its configuration.',
    })
  if (weight.shape.length !== 2 || weight.shape[0] !== shape[0] || weight.shape[1] !== shape[1])
    throw new ShadowError(
      'invalid_file',
      `The adapter's ${name} has shape [${weight.shape.join(', ')}], this base needs [${shape.join(', ')}].`,
      { hint: 'Use the base model that the adapter was trained on.' },
    )
  return runtime.fromFloat32(weight.data, shape)
}
