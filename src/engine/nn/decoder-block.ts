/** The pre-norm transformer block that Llama and its relatives share; `BlockSpec` says where they differ. */
import type { BlockPlan } from '../native/addon.ts'
import {
  type Activation,
  attention,
  gatedActivation,
  type Heads,
  rope,
  type Runs,
  scoring,
} from '../tensor/fused.ts'
import { add, concatenate, reshape, slice } from '../tensor/ops.ts'
import type { Runtime } from '../tensor/runtime.ts'
import type { Tensor } from '../tensor/tensor.ts'
import type { AdapterView } from './adapter-view.ts'
import type { BaseTensor } from './base-tensor.ts'
import { type ApplyOptions, type LinearSpec, Projections } from './projections.ts'
import { RmsNorm } from './rms-norm.ts'
import type { Rotation } from './rotary.ts'
import type { WeightSource } from './weights.ts'

export interface BlockSpec {
  hiddenSize: number
  intermediateSize: number
  /** With the scale of the scores and the window, where this layer has its own. */
  heads: Heads
  normEps: number
  /** Added to the weights of all norms. */
  normOffset: number
  /** Queries and keys are normalised head by head before they are rotated (`q_norm`, `k_norm`). */
  qkNorm: boolean
  /** What attention and MLP give is normalised too, before it is added. */
  sandwichNorms: boolean
  activation: Activation
  biases: { qkv: boolean; output: boolean; mlp: boolean }
  /** `qkv_proj` and `gate_up_proj` are one layer each. */
  fusedLinears: boolean
  /** Which of the model's rotary embeddings turns queries and keys; null: none. */
  rotation: number | null
}

/** The linear layers of one block, by what they read. */
export function blockLinears(prefix: string, spec: BlockSpec) {
  const { heads, hiddenSize, intermediateSize, biases } = spec
  const linear = (name: string, inFeatures: number, outFeatures: number, hasBias: boolean): LinearSpec => ({
    path: `${prefix}.${name}`,
    inFeatures,
    outFeatures,
    hasBias,
  })
  const [queries, keys] = [heads.query * heads.dim, heads.key * heads.dim]
  return {
    qkv: spec.fusedLinears
      ? [linear('self_attn.qkv_proj', hiddenSize, queries + 2 * keys, biases.qkv)]
      : [
          linear('self_attn.q_proj', hiddenSize, queries, biases.qkv),
          linear('self_attn.k_proj', hiddenSize, keys, biases.qkv),
          linear('self_attn.v_proj', hiddenSize, keys, biases.qkv),
        ],
    output: [linear('self_attn.o_proj', queries, hiddenSize, biases.output)],
    gateUp: spec.fusedLinears
      ? [linear('mlp.gate_up_proj', hiddenSize, 2 * intermediateSize, biases.mlp)]
      : [
          linear('mlp.gate_proj', hiddenSize, intermediateSize, biases.mlp),
          linear('mlp.up_proj', hiddenSize, intermediateSize, biases.mlp),
        ],
    down: [linear('mlp.down_proj', intermediateSize, hiddenSize, biases.mlp)],
  }
}

/** The norms of one block and their sizes, `input_layernorm` and `post_attention_layernorm` first. */
export function blockNorms(prefix: string, spec: BlockSpec): { path: string; size: number }[] {
  const { hiddenSize, heads } = spec
  const sandwich = ['pre_feedforward_layernorm', 'post_feedforward_layernorm']
  const overHidden = ['input_layernorm', 'post_attention_layernorm', ...(spec.sandwichNorms ? sandwich : [])]
  return [
    ...overHidden.map((name) => ({ path: `${prefix}.${name}`, size: hiddenSize })),
    ...(spec.qkNorm ? ['q_norm', 'k_norm'] : []).map((name) => ({
      path: `${prefix}.self_attn.${name}`,
      size: heads.dim,
    })),
  ]
}

/**
 * x + o(attention(rope(qkv(norm x)))), then x + down(act(gateUp(norm x))). With sandwich norms the two sums are
 * x + norm(o(…)) and x + norm(down(…)).
 */
export class DecoderBlock {
  readonly #spec: BlockSpec
  readonly #inputNorm: RmsNorm
  readonly #attendedNorm: RmsNorm | null
  readonly #mlpNorm: RmsNorm
  readonly #mlpOutputNorm: RmsNorm | null
  readonly #headNorms: { query: RmsNorm; key: RmsNorm } | null
  readonly #qkv: Projections
  readonly #output: Projections
  readonly #gateUp: Projections
  readonly #down: Projections

  constructor(runtime: Runtime, source: WeightSource, prefix: string, spec: BlockSpec) {
    const norm = (name: string, size = spec.hiddenSize): RmsNorm =>
      new RmsNorm(runtime, source, `${prefix}.${name}`, size, { eps: spec.normEps, offset: spec.normOffset })
    const { sandwichNorms, heads } = spec
    const linears = blockLinears(prefix, spec)
    this.#spec = spec
    this.#inputNorm = norm('input_layernorm')
    this.#attendedNorm = sandwichNorms ? norm('post_attention_layernorm') : null
    this.#mlpNorm = norm(sandwichNorms ? 'pre_feedforward_layernorm' : 'post_attention_layernorm')
    this.#mlpOutputNorm = sandwichNorms ? norm('post_feedforward_layernorm') : null
    this.#headNorms = spec.qkNorm
      ? { query: norm('self_attn.q_norm', heads.dim), key: norm('self_attn.k_norm', heads.dim) }
      : null
    this.#qkv = new Projections(runtime, source, linears.qkv)
    this.#output = new Projections(runtime, source, linears.output)
    this.#gateUp = new Projections(runtime, source, linears.gateUp)
    this.#down = new Projections(runtime, source, linears.down)
  }

  /**
   * x (tokens, hiddenSize) → the same shape.
   * @param rotation the angles of this layer's rotary embedding; null: positions are not encoded here
   */
  forward(x: Tensor, rotation: Rotation | null, runs: Runs, view: AdapterView | null): Tensor {
    const { heads, activation } = this.#spec
    const options = { view }
    const qkv = this.#normaliseHeads(this.#qkv.apply(this.#inputNorm.apply(x, view), options), view)
    const rotated =
      rotation === null
        ? qkv
        : rope(qkv, rotation.cosines, rotation.sines, heads.query + heads.key, heads.dim)
    const attended = attention(rotated, runs, heads)
    const middle = addTo(x, this.#output, attended, this.#attendedNorm, options)
    const gateUp = this.#gateUp.apply(this.#mlpNorm.apply(middle, view), options)
    return addTo(middle, this.#down, gatedActivation(gateUp, activation), this.#mlpOutputNorm, options)
  }

  /** The same for generation. */
  plan(view: AdapterView | null): BlockPlan {
    const { heads, activation, rotation } = this.#spec
    return {
      inputNorm: this.#inputNorm.plan(),
      mlpNorm: this.#mlpNorm.plan(),
      attendedNorm: this.#attendedNorm?.plan() ?? null,
      mlpOutputNorm: this.#mlpOutputNorm?.plan() ?? null,
      queryNorm: this.#headNorms?.query.plan() ?? null,
      keyNorm: this.#headNorms?.key.plan() ?? null,
      qkv: this.#qkv.plan(view),
      output: this.#output.plan(view),
      gateUp: this.#gateUp.plan(view),
      down: this.#down.plan(view),
      queryHeads: heads.query,
      keyHeads: heads.key,
      headDim: heads.dim,
      ...scoring(heads),
      activation,
      rotation: rotation ?? -1,
    }
  }

  /** √Σ W² of each row of a layer of this block; null for others. */
  rowNorms(path: string): Float32Array | null {
    for (const part of this.#linears()) {
      const norms = part.rowNorms(path)
      if (norms !== null) return norms
    }
    return null
  }

  baseTensors(): BaseTensor[] {
    return [
      ...this.#norms().map((norm) => norm.baseTensor()),
      ...this.#linears().flatMap((part) => part.baseTensors()),
    ]
  }

  dispose(): void {
    for (const part of [...this.#norms(), ...this.#linears()]) part.dispose()
  }

  #norms(): RmsNorm[] {
    const norms = [this.#inputNorm, this.#attendedNorm, this.#mlpNorm, this.#mlpOutputNorm]
    return [...norms, this.#headNorms?.query, this.#headNorms?.key].flatMap((norm) => norm ?? [])
  }

  #linears(): Projections[] {
    return [this.#qkv, this.#output, this.#gateUp, this.#down]
  }

  /** qkv (tokens, (query + 2·key)·dim), the same shape: each query and key head over its own length. */
  #normaliseHeads(qkv: Tensor, view: AdapterView | null): Tensor {
    if (this.#headNorms === null) return qkv
    const { query, key, dim } = this.#spec.heads
    const tokens = qkv.axis(0)
    const columns = (first: number, count: number): Tensor =>
      slice(qkv, [0, first * dim], [tokens, (first + count) * dim])
    const normalised = (norm: RmsNorm, first: number, count: number): Tensor =>
      reshape(norm.apply(reshape(columns(first, count), [tokens * count, dim]), view), [tokens, count * dim])
    return concatenate(
      [
        normalised(this.#headNorms.query, 0, query),
        normalised(this.#headNorms.key, query, key),
        columns(query + key, key),
      ],
      1,
    )
  }
}

/** residual + projections(x), or residual + norm(projections(x)). */
function addTo(
  residual: Tensor,
  projections: Projections,
  x: Tensor,
  norm: RmsNorm | null,
  options: Omit<ApplyOptions, 'residual'>,
): Tensor {
  if (norm === null) return projections.apply(x, { ...options, residual })
  return add(residual, norm.apply(projections.apply(x, options), options.view ?? null))
}
