/**
 * LoRA (arXiv 2106.09685) with PEFT's semantics: A (r, in) drawn kaiming-uniform with a = √5, which is uniform
 * in ±1/√in; B (out, r) zero; the product is scaled by lora_alpha / r. With DoRA (arXiv 2402.09353) each row of
 * W + scale·B·A is brought to a learned length, which starts at that of W.
 */
import { ShadowError } from '../../lib/error.ts'
import type { CausalLM } from '../models/causal-lm.ts'
import type { AdapterView, FrozenLayer } from '../nn/adapter-view.ts'
import type { LinearSpec } from '../nn/projections.ts'
import type { Weight, WeightSource } from '../nn/weights.ts'
import { add, divide, matmul, multiply, sqrt, stopGradient, sum, transpose } from '../tensor/ops.ts'
import { key, split, uniform } from '../tensor/random.ts'
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { Adapter } from './adapter.ts'
import {
  checkLoraConfig,
  checkPatterns,
  layerRank,
  layerScale,
  type LoraConfig,
  targetLayers,
} from './lora-config.ts'

/** One adapted layer: where its factors stand among the parameters. */
interface Layer {
  linear: LinearSpec
  scale: number
  a: number
  b: number
  /** DoRA's row lengths. */
  magnitude: number | null
}

interface ParameterSpec {
  name: string
  shape: readonly number[]
}

/** One adapter for one base model. Its parameters are changed in place by the optimizer. */
export class LoraAdapter implements Adapter {
  readonly kind = 'lora'
  /** What the adapter was made with. */
  readonly config: LoraConfig
  /** The adapted layers, in the model's order. */
  readonly linears: readonly LinearSpec[]
  /**
   * f32: for each layer A (r, in), B (out, r) and with DoRA the row lengths (out), in the order of `linears`.
   */
  readonly parameters: readonly Tensor[]
  /** PEFT's, `base_model.model.<path>.lora_A.weight` for instance, in the order of `parameters`. */
  readonly parameterNames: readonly string[]
  readonly #runtime: Runtime
  readonly #specs: readonly ParameterSpec[]
  readonly #layers: ReadonlyMap<string, Layer>

  private constructor(
    runtime: Runtime,
    config: LoraConfig,
    linears: readonly LinearSpec[],
    values: (spec: ParameterSpec) => Float32Array,
  ) {
    this.#runtime = runtime
    this.config = config
    this.linears = linears
    const specs: ParameterSpec[] = []
    this.#layers = new Map(
      linears.map((linear) => {
        const { path, inFeatures, outFeatures } = linear
        const r = layerRank(config, path)
        const place = (suffix: string, shape: number[]): number =>
          specs.push({ name: `base_model.model.${path}.${suffix}`, shape }) - 1
        const layer: Layer = {
          linear,
          scale: layerScale(config, path),
          a: place('lora_A.weight', [r, inFeatures]),
          b: place('lora_B.weight', [outFeatures, r]),
          magnitude: config.use_dora === true ? place('lora_magnitude_vector', [outFeatures]) : null,
        }
        return [path, layer]
      }),
    )
    this.#specs = specs
    this.parameterNames = specs.map(({ name }) => name)
    this.parameters = runtime.keep(specs.map((spec) => runtime.fromFloat32(values(spec), spec.shape)))
  }

  /** A fresh adapter; the same for the same seed. @throws ShadowError `invalid_config`. */
  static create(model: CausalLM, config: LoraConfig, seed: number): LoraAdapter {
    const { runtime } = model
    checkLoraConfig(config)
    const linears = targetLayers(model.linears, config.target_modules)
    checkPatterns(config, linears)
    const magnitudes = new Map(
      config.use_dora === true
        ? linears.map(({ path }) => [
            `base_model.model.${path}.lora_magnitude_vector`,
            () => model.rowNorms(path),
          ])
        : [],
    )
    return runtime.tidy(() => {
      let next = key(runtime, seed)
      return new LoraAdapter(runtime, config, linears, ({ name, shape }) => {
        const [rows = 0, columns = 0] = shape
        const magnitude = magnitudes.get(name)
        if (magnitude !== undefined) return magnitude()
        if (name.endsWith('.lora_B.weight')) return new Float32Array(rows * columns)
        const [own, rest] = split(next)
        next = rest
        const bound = 1 / Math.sqrt(columns)
        return uniform(own, -bound, bound, shape).toFloat32Array()
      })
    })
  }

  /**
   * From tensors under PEFT's names: A (r, in), B (out, r), with DoRA also the row lengths (out).
   * @param paths the layers that are adapted. Default: those that `config.target_modules` names
   * @throws ShadowError `invalid_file`, `invalid_config`.
   */
  static fromTensors(
    model: CausalLM,
    config: LoraConfig,
    source: WeightSource,
    paths?: readonly string[],
  ): LoraAdapter {
    const linears = targetLayers(model.linears, paths ?? config.target_modules)
    return new LoraAdapter(model.runtime, config, linears, (spec) => read(source, spec))
  }

  /** `lora_dropout`, 0 to below 1. */
  get dropout(): number {
    return this.config.lora_dropout
  }

  /** Copies the parameters out under PEFT's names, with their shapes. */
  tensors(): Map<string, Weight> {
    return new Map(
      this.parameters.map((tensor, index) => [
        this.parameterNames[index] ?? '',
        { shape: tensor.shape, data: tensor.toFloat32Array() },
      ]),
    )
  }

  /**
   * Copies parameters in, in place. @throws ShadowError `invalid_file` naming the tensor that is missing or has another shape
   */
  restore(source: WeightSource): void {
    this.#runtime.tidy(() => {
      const values = this.#specs.map((spec) => this.#runtime.fromFloat32(read(source, spec), spec.shape))
      this.#runtime.copyInPlace(this.parameters, values)
    })
  }

  /** The adapter as a forward pass sees it; with a `dropoutSeed` its dropout draws from that seed. */
  view(parameters: readonly Tensor[] = this.parameters, dropoutSeed?: number): AdapterView {
    const layerAt = (path: string): (Layer & { factors: { a: Tensor; b: Tensor } }) | null => {
      const layer = this.#layers.get(path)
      const [a, b] = layer === undefined ? [] : [parameters[layer.a], parameters[layer.b]]
      return layer === undefined || a === undefined || b === undefined
        ? null
        : { ...layer, factors: { a, b } }
    }
    const view: AdapterView = {
      factors: (path) => layerAt(path)?.factors ?? null,
      scale: (path) => layerAt(path)?.scale ?? 1,
      gain: (path, frozen) => {
        const layer = layerAt(path)
        const magnitude = layer === null ? undefined : parameters[layer.magnitude ?? -1]
        if (layer === null || magnitude === undefined) return null
        return divide(magnitude, sumNorms(frozen(), layer.factors, layer.scale))
      },
    }
    if (dropoutSeed === undefined || this.dropout === 0) return view
    let next = key(this.#runtime, dropoutSeed)
    const nextKey = (): Tensor => {
      const [own, rest] = split(next)
      next = rest
      return own
    }
    return { ...view, dropout: { probability: this.dropout, nextKey } }
  }

  /**
   * A view for many passes while the parameters stay as they are: DoRA's gains are computed once. Lives as long as its
   * user keeps it.
   */
  servingView(): AdapterView {
    const view = this.view()
    if (this.config.use_dora !== true) return view
    const gains = new Map<string, Tensor | null>()
    return {
      ...view,
      gain: (path, frozen) => {
        const known = gains.get(path)
        if (known !== undefined) return known
        const gain = view.gain(path, frozen)
        if (gain !== null) this.#runtime.evaluate([this.#runtime.keep(gain)])
        gains.set(path, gain)
        return gain
      },
    }
  }

  /** Frees the parameters. */
  dispose(): void {
    for (const parameter of this.parameters) parameter.dispose()
  }
}

/**
 * ‖W + s·B·A‖ of each row, without the sum: Σ W² + 2s·Σ B∘(W·Aᵀ) + s²·Σ (B·A·Aᵀ)∘B. A constant to derivatives, as the
 * paper (section 4.3) and PEFT have it.
 */
function sumNorms(frozen: FrozenLayer, factors: { a: Tensor; b: Tensor }, scale: number): Tensor {
  const [a, b] = [stopGradient(factors.a), stopGradient(factors.b)]
  const overRank = { axes: [1] }
  const mixed = sum(multiply(b, transpose(frozen.times(a))), overRank)
  const own = sum(multiply(matmul(b, matmul(a, transpose(a))), b), overRank)
  return sqrt(add(add(frozen.squaredNorms, multiply(mixed, 2 * scale)), multiply(own, scale * scale)))
}

function read(source: WeightSource, { name, shape }: ParameterSpec): Float32Array {
  const weight = source.get(name)
  if (weight === undefined)
    throw new ShadowError('invalid_file', `The adapter has no tensor ${name}.`, {
      hint: 'It was made for another base model, or its target_modules differ from its configuration.',
    })
  const size = shape.reduce((product, axis) => product * axis, 1)
  if (weight.shape.join() !== shape.join() || weight.data.length !== size)
    throw new ShadowError(
      'invalid_file',
      `The adapter's ${name} has shape [${weight.shape.join(', ')}], this base needs [${shape.join(', ')}].`,
      { hint: 'Use the base model that the adapter was trained on.' },
    )
  return weight.data
}
